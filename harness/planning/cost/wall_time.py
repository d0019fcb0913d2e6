"""The wall time that a plan will take, with a range: from kept rates of this device class, else a guess from FLOPs."""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.measure.usable_cores import count_worker_cores
from harness.planning.cost.duration_words import describe_range, describe_seconds
from harness.planning.cost.part_prices import PartPrice, price_parts
from harness.planning.cost.schedule import schedule_seconds
from harness.planning.cost.task_seconds import GUESSED, MEASURED, Estimate, TaskEstimate, TaskEstimator
from harness.planning.cost.unfinished import KeptTasks
from harness.planning.plan import Plan, PlannedTrial
from harness.specs.rules.timing import MOST_REPEATS
from harness.specs.train import TrainSpec
from harness.storage.run_rates import DeviceRates, read_rates

START_KEYS, REPORT_KEYS, LOOP_KEYS = ("start",), ("report",), ("loop",)
"""Under which a run keeps the seconds before its first task, those of its report per trial, and the loop's overhead."""
_FIRST_RUN = {"start": 25.0, "report": 5.0, "row": 0.5, "loop": 1.15}
"""The same where no run has left them: a report and each row in it take seconds."""
_BUSY_MARGIN = 1.5
"""Another program may take more than its share: the upper end on a busy machine."""


@dataclass(frozen=True)
class WallTime:
    """Seconds of a run from its start to its report, with a range that should hold it."""

    seconds: float
    low: float
    high: float
    basis: str
    """From what it is known, in words that follow "from"."""
    trials: Mapping[str, float] = field(default_factory=dict)
    """Device-seconds of sampling, scoring and timing by id of a trial that is to do."""
    trainings: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds of each training that is to do, by network."""
    prices: tuple[PartPrice, ...] = ()
    """What each part of the run takes of devices, see `price_parts`."""
    unknown: frozenset[str] = frozenset()
    """Networks for which nothing is counted, because their FLOPs are not known: times with them are lower bounds."""
    is_guess: bool = False
    """Whether most of it is guessed from FLOPs."""
    problem: str = ""
    """One sentence about kept rates that could not be read, else empty."""

    def sentence(self, place: str = "here") -> str:
        """Return it in words, as "about 6 min here (4 to 9)"."""
        about = "more than" if self.unknown else "about"
        return f"{about} {describe_seconds(self.seconds)} {place} ({describe_range(self.low, self.high, self.seconds)})"


def estimate_wall_time(
    plan: Plan,
    finished: Container[str],
    results: Path,
    workers: int | None = None,
    *,
    hosts: int = 1,
    slowdown: float = 1.0,
    measured: Mapping[str, float] | None = None,
) -> WallTime:
    """Return the wall time of what is missing of a plan; runs nothing and changes nothing.

    `finished` holds the ids of trials that have a row, `results` is the folder of all suites. `workers` is the number
    of devices on `hosts` machines, by default what this machine offers, or the suite's number. `slowdown` is how
    much slower other programs make this machine, see `MachineLoad`; `measured` holds seconds of one evaluation of an
    image by network (`time_evaluations`).
    """
    todo = [planned for planned in plan.trials if planned.id not in finished]
    if not todo:
        return WallTime(0.0, 0.0, 0.0, "nothing is to do")

    # what earlier runs know and left
    workers = workers or count_local_devices(plan)
    read = read_rates(results)
    rates, kept = read.devices.get(plan.device_class, DeviceRates()), KeptTasks(plan, results)
    estimator = TaskEstimator(plan, rates, kept, measured, plan.suite.batch)

    # what is left of every task that is not finished
    left = kept.unfinished(task_id for planned in todo for task_id in planned.needs)
    tasks = {task_id: estimator.estimate(task) for task_id, task in left.items()}
    whole = _WholeRun(tasks, _fixed_parts(estimator, len(plan.trials)), workers, hosts, slowdown)

    # once as expected, once with all seconds at each end of their ranges
    return WallTime(
        seconds=whole.end_seconds("seconds"),
        low=whole.end_seconds("low"),
        high=whole.end_seconds("high"),
        basis=_describe_basis(tasks.values(), rates, estimator),
        trials={planned.id: _own_seconds(planned, tasks) for planned in todo},
        trainings=_training_seconds(tasks.values()),
        prices=price_parts(plan, tasks.values(), kept),
        unknown=frozenset(estimator.unknown),
        is_guess=_guessed_share(tasks.values()) > 0.5,
        problem=read.problem,
    )


def count_local_devices(plan: Plan) -> int:
    """Return how many workers a run here has: GPUs, else the cores that this process may use, at most the suite's."""
    import torch

    found = max(torch.cuda.device_count(), 1) if plan.device_class.startswith("cuda") else count_worker_cores()
    return min(found, plan.suite.workers or found)


def _fixed_parts(estimator: TaskEstimator, rows: int) -> tuple[Estimate, Estimate, Estimate]:
    """Return the seconds before the first task, those of the report, and the factor by which the loop is longer."""
    first = _FIRST_RUN
    return (
        estimator.fixed(START_KEYS, 1.0, first["start"]),
        estimator.fixed(REPORT_KEYS, float(rows), first["report"] + first["row"] * rows),
        estimator.fixed(LOOP_KEYS, 1.0, first["loop"]),
    )


@dataclass(frozen=True)
class _WholeRun:
    """All parts of a run: its tasks, what comes before and after them, and the devices."""

    tasks: Mapping[str, TaskEstimate]
    fixed: tuple[Estimate, Estimate, Estimate]
    workers: int
    hosts: int
    slowdown: float

    def end_seconds(self, end: str) -> float:
        """Return the wall seconds where every estimate is at one end: "seconds", "low" or "high".

        On a busy machine the low end hopes that the load goes away; at the high end disturbed timings are repeated.
        """
        is_busy, (start, report, loop) = self.slowdown > 1.0, self.fixed
        repeats = 1.0 + MOST_REPEATS if end == "high" and is_busy else 1.0
        specs = {task_id: one.task for task_id, one in self.tasks.items()}
        seconds = {
            task_id: one.at(getattr(one.total, end) * (repeats if one.task.exclusive else 1.0))
            for task_id, one in self.tasks.items()
        }

        # the loop's overhead varies less than what runs in it
        overhead = loop.seconds * (math.exp(loop.doubt / 4) if end == "high" else 1.0)
        busy = overhead * schedule_seconds(specs, seconds, self.workers, self.hosts)
        factor = {"seconds": self.slowdown, "low": 1.0, "high": self.slowdown * (_BUSY_MARGIN if is_busy else 1.0)}
        return factor[end] * (getattr(start, end) + getattr(report, end) + busy)


def _own_seconds(planned: PlannedTrial, tasks: Mapping[str, TaskEstimate]) -> float:
    """Return the device-seconds of a trial's own images, score and timing, as far as they are to do."""
    row = planned.row
    own = (*row.sample_ids, row.score_id, row.fidelity_id, *(() if row.timed_sample_ids else (row.time_id,)))
    return sum(tasks[task_id].total.seconds for task_id in own if task_id in tasks)


def _training_seconds(tasks: Collection[TaskEstimate]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in tasks:
        if isinstance(one.task.spec, TrainSpec):
            name = one.task.spec.network.name
            found[name] = found.get(name, 0.0) + one.total.seconds
    return found


def _guessed_share(tasks: Collection[TaskEstimate]) -> float:
    total = sum(one.total.seconds for one in tasks)
    guessed = sum(one.total.seconds for one in tasks if one.total.source == GUESSED)
    return guessed / total if total else 0.0


def _describe_basis(tasks: Collection[TaskEstimate], rates: DeviceRates, estimator: TaskEstimator) -> str:
    """Return from what the seconds are known, to follow "from": says what is guessed, and what is left out."""
    share, timed = _guessed_share(tasks), any(one.total.source == MEASURED for one in tasks)
    speed = f"counted FLOPs at {estimator.speed.words}"
    known = []
    if rates.runs:
        known.append(f"the rates of {rates.runs} earlier {'run' if rates.runs == 1 else 'runs'} on such a device")
    if timed:
        known.append("evaluations timed just now")

    found = " and ".join(known)
    if share > 0.02:
        found = f"{found}, {100 * share:.0f} % of it a guess from {speed}" if known else f"{speed}: a guess"
    if not rates.runs:
        found += ", as no run on such a device has left rates here"
    if estimator.unknown:
        found += f"; without {', '.join(sorted(estimator.unknown))}, whose FLOPs are not known"
    return found
