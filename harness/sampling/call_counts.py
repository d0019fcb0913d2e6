"""Counts of every call of the network, by step and unit, and what an executor reports of itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from harness.sampling.network_clock import NetworkClock
from harness.specs.audits import ImagesWork
from harness.specs.sample import Counts
from methods.parts import Trace


@dataclass
class ExecutorStats:
    """What a parallel executor reported, summed over images; empty after a serial one."""

    iterations: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    critical: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    speculative: int = 0
    bytes_sent: int = 0

    def add(self, trace: Trace, passes: Sequence[int]) -> None:
        """Add what the executor reported of one batch; `passes` are the evaluations of a call at each step."""
        if trace.iterations is not None:
            for count in trace.iterations.tolist():
                self.iterations[int(count)] += 1
        if trace.critical is not None:
            for step, evaluations in enumerate(trace.critical.double().sum(0).tolist()):
                self.critical[step] += evaluations * passes[step]
        self.speculative += round(trace.speculative * sum(passes) / len(passes))
        self.bytes_sent += trace.bytes_sent

    def merge(self, other: ExecutorStats) -> None:
        """Add what was reported of other images."""
        for count, images in other.iterations.items():
            self.iterations[count] += images
        for step, evaluations in other.critical.items():
            self.critical[step] += evaluations
        self.speculative += other.speculative
        self.bytes_sent += other.bytes_sent


@dataclass
class CallCounts:
    """Calls of the network by step: evaluations of images, and runs of each of its units, summed over images."""

    evaluations: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    guided: int = 0
    """Those of the evaluations that a guided row has besides its own."""
    units: dict[int, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    network_clock: NetworkClock = field(default_factory=NetworkClock)
    operations: int = 0
    """FLOPs of whole calls, of a pipeline whose network is not seen."""
    executor_stats: ExecutorStats = field(default_factory=ExecutorStats)

    def add(self, step: int, rows: int, units: Any) -> None:
        """Count one call of `rows` images; counts that vary by image stay on the device until `to_counts`."""
        self.evaluations[step] += rows
        counts = self.units[step]
        for name, count in units.items():
            ran = rows * count if isinstance(count, int) else count.sum()
            counts[name] = counts.get(name, 0) + ran

    def merge(self, other: CallCounts) -> None:
        """Add what another batch counted; what lies on the device stays there."""
        for step, rows in other.evaluations.items():
            self.evaluations[step] += rows
        for step, ran in other.units.items():
            counts = self.units[step]
            for name, count in ran.items():
                counts[name] = counts.get(name, 0) + count
        self.executor_stats.merge(other.executor_stats)
        self.guided += other.guided
        self.operations += other.operations

    @property
    def network_seconds(self) -> float:
        """Return the seconds inside the network so far; by a clock of a GPU's events it waits for them."""
        return self.network_clock.seconds

    @property
    def requested(self) -> int:
        """Return the rows that executors requested; a guided one is two evaluations."""
        return sum(self.evaluations.values()) - self.guided

    def add_rows(self, steps: Tensor, units: Any) -> None:
        """Count one call whose rows belong to the given steps, int64 [rows] on the host."""
        for step in steps.unique().tolist():
            here = steps == step
            own = {name: n if isinstance(n, int) else n[here.to(n.device)] for name, n in units.items()}
            self.add(step, int(here.sum()), own)

    def total_units(self) -> dict[str, int]:
        """Return how often each unit ran, over all steps and images."""
        total: dict[str, int] = defaultdict(int)
        for counts in self.units.values():
            for name, count in counts.items():
                total[name] += int(count)
        return dict(sorted(total.items()))

    def to_work(self, ranks: int) -> ImagesWork:
        """Return what ran over all steps; one of several ranks sees refinements alone."""
        return ImagesWork(
            evaluations=sum(self.evaluations.values()) if ranks == 1 else None,
            units=self.total_units() if ranks == 1 else {},
            iterations=dict(sorted(self.executor_stats.iterations.items())),
        )

    def to_counts(self) -> Counts:
        """Return plain numbers: evaluations by step, units by step and name, and the executor's statistics."""
        return Counts(
            evaluations={step: int(rows) for step, rows in sorted(self.evaluations.items())},
            units={s: {n: int(c) for n, c in sorted(u.items())} for s, u in sorted(self.units.items())},
            iterations=dict(sorted(self.executor_stats.iterations.items())),
            critical=dict(sorted(self.executor_stats.critical.items())),
            speculative=self.executor_stats.speculative,
            bytes_sent=self.executor_stats.bytes_sent,
            operations=self.operations,
        )
