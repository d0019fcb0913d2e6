"""The paragraph at the start of a run: what is measured, when it ends, on what, how to leave, where the report is."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Container
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.measure.usable_cores import count_worker_cores
from harness.screen.clock_text import format_end

if TYPE_CHECKING:
    from harness.planning.cost.wall_time import WallTime
    from harness.planning.plan import Plan
    from harness.screen.run_screen import Screen

_GIGABYTE = 1e9
_LOG = logging.getLogger("oneclock.screen.opening")


def announce(
    screen: Screen,
    plan: Plan,
    finished: Container[str],
    results: Path,
    workers: int | None = None,
    is_here: bool = True,
) -> None:
    """Show the paragraph of the start, and what the machine or the plan lacks for it; writes the first page.

    `workers` is None before they are known; they are this machine's where it `is_here`.
    """
    from harness.measure.machine_load import measure_machine_load
    from harness.planning.cost.wall_time import estimate_wall_time
    from harness.planning.notes import plan_notes

    # when it ends
    load = measure_machine_load()
    wall_time = estimate_wall_time(plan, finished, results, workers, slowdown=load.slowdown)

    # the paragraph
    kind, _, name = plan.device_class.partition(":")
    sentences = opening_sentences(
        plan,
        finished,
        wall_time,
        now=datetime.now(),
        devices=describe_devices(kind, name, workers or plan.suite.workers, is_here),
        free_bytes=shutil.disk_usage(results).free,
        page=screen.progress.report,
        is_live=screen.progress.report_is_live,
    )

    # it is shown, then what is not as it should be
    names = [one.trial.short for one in plan.trials]
    screen.open_run(sentences, names, wall_time.seconds, plan.clock_names)
    if load.sentence:
        _LOG.warning(load.sentence)
    for note in plan_notes(plan):
        _LOG.info("note: %s", note)


def opening_sentences(
    plan: Plan,
    finished: Container[str],
    wall_time: WallTime,
    now: datetime,
    devices: str,
    free_bytes: int,
    page: str,
    is_live: bool = True,
) -> list[str]:
    """Return the sentences of the paragraph. `page` is the path of report.html, "" where none is written.

    It `is_live` where it shows this run while it goes on.
    """
    sentences = [
        _what(plan, finished),
        f"This takes {wall_time.sentence()} and ends about "
        f"{format_end(now, wall_time.seconds, wall_time.low, wall_time.high)}, from {wall_time.basis}.",
        f"Found {devices}, and {free_bytes / _GIGABYTE:,.0f} GB free on the disk of the results.",
        "Ctrl-C is safe: finished trials are kept, and the same command goes on from there.",
    ]
    if page:
        where = "is there already and refreshes itself" if is_live else "of earlier rows stays there until the end"
        sentences.append(f"The report {where}: {page}")
    return sentences


def describe_devices(kind: str, device_name: str, workers: int | None, is_here: bool = True) -> str:
    """Return the devices in words; `workers` is None before they are known, then this machine's are."""
    if kind == "cpu":
        usable = count_worker_cores()
        cores = workers or usable
        if is_here and cores < usable:
            return f"{cores} of {usable} CPU cores ({device_name})"
        return f"{cores} CPU core{'' if cores == 1 else 's'} ({device_name})"
    if workers is None:
        import torch

        workers = torch.cuda.device_count()
    return f"{workers} {device_name}"


def _what(plan: Plan, finished: Container[str]) -> str:
    """Return what is measured: trials, methods, networks, images, data."""
    todo = sum(one.id not in finished for one in plan.trials)
    trials = [one.trial for one in plan.trials]
    methods, networks = {one.method for one in trials}, {one.network.name for one in trials}
    data = ", ".join(sorted({one.dataset.name for one in trials}))
    left = "" if todo == len(trials) else f", {todo} of them still to do"
    return (
        f"{plan.suite.name} measures {_count(len(trials), 'trial')}{left}: {_count(len(methods), 'method')} on "
        f"{_count(len(networks), 'network')}, {plan.suite.n_images:,} images of {data} for each, then its time."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
