"""Rates of a run from its units' durations: seconds per unit of work, which later plans are estimated from."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError
from harness.measure.machine_use import MachineUse
from harness.planning.cost.schedule import TaskSeconds, schedule_seconds
from harness.planning.cost.wall_time import LOOP_KEYS, START_KEYS
from harness.planning.cost.work import Work, network_key, rest_keys, round_work, search_key, task_work, warm_up_seconds
from harness.planning.plan import Plan
from harness.pools.pool import Pool
from harness.signals import StopRequest
from harness.specs.base import Output
from harness.specs.prepare import PrepareSpec
from harness.specs.rules.timing import TIERS
from harness.specs.sample import SampleOutput, SampleSpec
from harness.specs.time import TimeOutput, TimeSpec
from harness.storage.run_rates import add_run_rates
from harness.task import Task, Unit

LEAST_SHARE = 0.85
"""Own CPU seconds over busy seconds; a run that had less shared its cores, and its seconds are scaled down by that."""
_LEAST_REST = 0.05  # seconds of a timing besides warm-up and blocks, where the difference of two clocks says less
_LEAST_LOOP = 5.0  # seconds of a loop from which its overhead is seen

_LOG = logging.getLogger("oneclock.driver.unit_rates")


class MeasuredRun(Protocol):
    """What `keeping_rates` reads of an engine."""

    plan: Plan
    pool: Pool
    rates: UnitRates
    stop: StopRequest


class UnitRates:
    """Sums of seconds and work by key, over the units of a run that succeeded."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self.busy_seconds = 0.0
        """Of all units, once per rank."""
        self._tasks = tasks
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])  # seconds and work by key
        self._works: dict[str, Work] = {}
        self._flops: dict[str, float] = {}  # of one evaluation, by network
        self._total: dict[str, float] = defaultdict(float)  # seconds by task
        self._longest: dict[str, float] = defaultdict(float)
        self._evaluated: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])  # the same of sampling, by network

    def add_unit(self, unit: Unit, output: Output, seconds: float, jobs: int = 0) -> None:
        """Add a unit that took `seconds`; `jobs` is the number of jobs of the search that it concludes."""
        task = unit.task
        self.busy_seconds += seconds * task.ranks
        self._total[task.id] += seconds
        self._longest[task.id] = max(self._longest[task.id], seconds)

        if isinstance(task.spec, TimeSpec) and isinstance(output, TimeOutput):
            self._add_timing(task.spec, output, seconds)
            return
        work = self._works.get(task.id) or self._works.setdefault(task.id, task_work(task, self._tasks))
        span = unit.span
        share = 1.0 if span is None or task.cut is None else (span.stop - span.start) / (task.cut.stop - task.cut.start)
        self._add(work.keys, seconds, work.amount * share)
        if isinstance(task.spec, PrepareSpec) and jobs:
            self._add(search_key(task.spec), float(jobs), 1.0)
        if isinstance(task.spec, SampleSpec) and isinstance(output, SampleOutput):
            self._add_sampling(task.spec, output, seconds, work.amount * share)

    def rates(self) -> dict[str, float]:
        """Return seconds per unit of work by key, and the FLOPs of networks under keys of their own."""
        found = {key: seconds / work for key, (seconds, work) in self._sums.items() if work > 0}
        flops = sum(work * self._flops[net] for net, (_, work) in self._evaluated.items() if net in self._flops)
        if flops:
            counted = sum(seconds for net, (seconds, _) in self._evaluated.items() if net in self._flops)
            found["flop"] = counted / flops
        return found | {f"flops {net}": value for net, value in self._flops.items()}

    def loop_factor(self, wall_seconds: float, workers: int, hosts: int) -> float | None:
        """Return how much longer the loop took than its units on these workers; None if it was too short to tell."""
        seconds = {key: TaskSeconds(total, self._longest[key]) for key, total in self._total.items()}
        known = {key: one for key, one in seconds.items() if key in self._tasks}
        expected = schedule_seconds(self._tasks, known, max(workers, 1), max(hosts, 1)) if known else 0.0
        return None if expected < _LEAST_LOOP else wall_seconds / expected

    def _add(self, keys: tuple[str, ...], seconds: float, work: float) -> None:
        for key in keys:
            sums = self._sums[key]
            sums[0] += seconds
            sums[1] += work

    def _add_sampling(self, spec: SampleSpec, output: SampleOutput, seconds: float, work: float) -> None:
        net = network_key(spec.sampler.model)
        self._add((f"evaluation {net}",), seconds, work)
        self._evaluated[net][0] += seconds
        self._evaluated[net][1] += work
        if output.cost is not None and output.cost.network:
            self._flops[net] = float(output.cost.network)

    def _add_timing(self, spec: TimeSpec, output: TimeOutput, seconds: float) -> None:
        """Add a timing's rounds, how many blocks it took, and the rest of its seconds, without its warm-up."""
        counted, work, tier = output.blocks[output.counted], round_work(spec), TIERS[spec.tier]
        one = counted.seconds / counted.rounds
        rest = seconds - sum(block.seconds for block in output.blocks) - warm_up_seconds(tier, one)
        self._add(work.keys, one, work.amount)
        self._add(rest_keys(spec), max(rest, _LEAST_REST), 1.0)
        self._add((f"blocks {spec.tier}",), float(len(output.blocks)), 1.0)


@contextmanager
def keeping_rates(engine: MeasuredRun, results: Path, use: MachineUse, is_local: bool) -> Iterator[None]:
    """Keep the rates of the units that an engine runs within the block, also where it is interrupted.

    `use` counts from the start of the run. Its CPU seconds say whether the cores were shared, if the workers are
    processes of this machine (`is_local`).
    """
    use.read_workers()
    start, cpu_before = use.seconds(), use.cpu_seconds()
    try:
        yield
    finally:
        try:
            _keep_rates(engine, results, use, is_local, start, cpu_before)
        except Exception as error:  # the run's own error, if there is one, says more
            _LOG.debug("the rates of this run are not kept", exc_info=error)


def _keep_rates(
    engine: MeasuredRun, results: Path, use: MachineUse, is_local: bool, start: float, cpu_before: float
) -> None:
    use.read_workers()
    rates, cpu = engine.rates, use.cpu_seconds() - cpu_before
    if not rates.busy_seconds:
        return
    found = rates.rates() | {START_KEYS[0]: start}
    loop = rates.loop_factor(use.seconds() - start, engine.pool.size(), engine.pool.hosts())
    if loop is not None and engine.stop.signal is None:
        found[LOOP_KEYS[0]] = max(loop, 1.0)

    # how much of the cores it had
    is_own = is_local and engine.plan.device_class.startswith("cpu")
    share = cpu / rates.busy_seconds if is_own else None
    keep_run_rates(results, engine.plan.device_class, found, share)


def keep_run_rates(
    results: Path,
    device_class: str,
    rates: Mapping[str, float],
    cpu_share: float | None = None,
    is_new_run: bool = True,
) -> None:
    """Add a run's rates to the file in the results root; what goes wrong there is logged and ends no run.

    `cpu_share` is own CPU seconds over busy seconds: with less than `LEAST_SHARE` the cores were shared, and seconds
    are scaled to those of an idle machine.
    """
    scale = 1.0 if cpu_share is None or cpu_share >= LEAST_SHARE else max(cpu_share, 0.1)
    counts = ("flops ", "jobs ", "blocks ", "loop")
    scaled = {key: value if key.startswith(counts) else value * scale for key, value in rates.items()}
    if scale < 1.0:
        scaled = {key: value for key, value in scaled.items() if not key.startswith(("blocks ", "loop"))}
    try:
        add_run_rates(results, device_class, scaled, is_new_run)
    except (OSError, HarnessError) as error:
        _LOG.debug("the rates of this run are not kept: %s", error)
