"""The lines that `plan` prints: a line per trial, what is to do and how long it takes, then notes."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness import api
from harness.errors import check_folder
from harness.measure.machine_load import MachineLoad, measure_machine_load
from harness.planning.cost.duration_words import describe_seconds
from harness.planning.cost.part_prices import assumed_words
from harness.planning.cost.timed_evaluations import time_evaluations
from harness.planning.cost.wall_time import WallTime, estimate_wall_time
from harness.planning.notes import plan_notes
from harness.planning.plan import Plan
from harness.pools.device_choice import ALL_DEVICES, DeviceChoice
from harness.runs import workplace
from harness.storage.store import Store

_LEAST_WIDTH = 40
_STATE_WIDTH = 9
_TAIL = 14
"""Characters at the end of a name that stay where it is cut: they hold the steps."""


def plan_lines(
    suite: str,
    settings: list[str] | None,
    seeds: int | None,
    only: str | None,
    address: str | None,
    results: Path,
    measure: bool = False,
    choice: DeviceChoice = ALL_DEVICES,
) -> Iterator[str]:
    """Yield the lines of a plan. No network is run unless `measure` is set."""
    check_folder(results)
    plan, workers, hosts = api.plan_with_devices(
        suite,
        only=only,
        settings=settings,
        seeds=seeds,
        address=address,
        gpus=choice.gpus,
        device=choice.device,
    )

    # how long it takes
    finished = _read_verdicts(results / plan.suite.name)
    is_cluster = workplace.cluster_address(address) is not None
    is_here = not is_cluster and plan.device_class == workplace.this_device()[0]
    measured = time_evaluations(plan, finished) if measure and is_here else None
    load = measure_machine_load() if is_here else MachineLoad()
    wall_time = estimate_wall_time(
        plan, finished, results, workers, hosts=hosts, slowdown=load.slowdown, measured=measured
    )

    missing = [f"missing: {sentence}" for sentence in plan.absent]
    yield from wrap_lines(missing, terminal_width())
    yield from fit_lines(_list_trials(plan, finished, wall_time), terminal_width())
    yield from wrap_lines(_summarize(plan, finished, wall_time, workers, is_cluster), terminal_width())
    yield from wrap_lines([f"price: {one.sentence}" for one in wall_time.prices], terminal_width())
    assumed = assumed_words(wall_time.prices, plan.device_class)
    notes = [
        f"note: {sentence}" for sentence in (load.sentence, wall_time.problem, assumed, *plan_notes(plan)) if sentence
    ]
    if measure and not is_here:
        notes.append("note: --measure times networks on this machine, and the run is on another: nothing was timed")
    yield from wrap_lines(notes, terminal_width())


def terminal_width() -> int | None:
    """Return the columns of the terminal; None where the output goes elsewhere, and lines are not cut."""
    return max(shutil.get_terminal_size().columns, _LEAST_WIDTH) if sys.stdout.isatty() else None


def fit_lines(lines: Iterator[tuple[str, str]], width: int | None) -> Iterator[str]:
    """Yield each head and name as a line of at most `width` characters; a long name loses its middle."""
    for head, name in lines:
        room = len(name) if width is None else max(width - len(head), _TAIL + 2)
        if len(name) > room:
            name = f"{name[: room - _TAIL - 1]}…{name[-_TAIL:]}"
        yield head + name


def wrap_lines(lines: list[str], width: int | None) -> Iterator[str]:
    """Yield lines wrapped at words, the following ones indented."""
    for line in lines:
        if width is None:
            yield line
        else:
            yield from textwrap.wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)


def _read_verdicts(folder: Path) -> dict[str, str]:
    return Store(folder).snapshot().finished() if (folder / "log").is_dir() else {}


def _list_trials(plan: Plan, finished: Mapping[str, str], wall_time: WallTime) -> Iterator[tuple[str, str]]:
    """Yield a head, whether it is done and as what or how long it takes alone, and the trial's name."""
    for planned in plan.trials:
        if planned.id in finished:
            state = f"done   {finished[planned.id]:>{_STATE_WIDTH}}"
        else:
            known = planned.trial.network.name not in wall_time.unknown
            seconds = describe_seconds(wall_time.trials[planned.id]) if known else "unknown"
            state = f"to do  {seconds:>{_STATE_WIDTH}}"
        yield f"{state}  ", planned.trial.short


def _summarize(
    plan: Plan, finished: Mapping[str, str], wall_time: WallTime, workers: int, is_cluster: bool
) -> list[str]:
    """Return what is to do, how long it takes, what is trained, and from what that is known."""
    todo = sum(planned.id not in finished for planned in plan.trials)
    if not todo:
        return [f"0 to do · all {len(plan.trials)} are done"]
    kind = plan.device_class.partition(":")[0]
    device = {"cuda": "GPU", "cpu": "core"}.get(kind, "device")
    place = f"on {workers} {device}{'' if workers == 1 else 's'} of the cluster" if is_cluster else "here"
    counts = f"{todo} to do" + (f", {len(plan.trials) - todo} done" if todo < len(plan.trials) else "")
    trains = [
        f"trains {name} {'for an unknown time' if name in wall_time.unknown else describe_seconds(seconds)}"
        for name, seconds in sorted(wall_time.trainings.items())
    ]
    if plan.absent:
        counts = f"cannot run yet, see what is missing at the top · {counts}"
    return [" · ".join([counts, wall_time.sentence(place), *trains]), f"from {wall_time.basis}"]
