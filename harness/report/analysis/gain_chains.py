"""What each part of a row brought: links between rows that differ in one part only.

A chain leads from the suite's baseline to the row, in the order solver, schedule, network, denoiser, executor.
Parts that are equal give no link.
All rows of a chain have the row's steps, but for the baseline.
That has as many evaluations as the row, counted as steps x evaluations of a step.
For evaluations are what a user pays: Heun at 5 steps follows DDIM at 10, and its solver's link holds both.

Where a row of the chain is missing, the next link starts from the last one that is there, and holds several parts.
The order decides what a part brings where parts depend on each other.
So each part is also set back alone, where such a row is there.
That row has the baseline's part, and equals the row otherwise.

Differences of FID are taken within each training, paired by image, then over trainings.
Times are of throughput, and of latency where an executor is parallel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from pandas import Series

from harness.report.analysis.derive import Analysis
from harness.report.analysis.paired import PairedDifference, TrainingFigures, training_figures
from harness.report.analysis.row_lookup import RowLookup, lookup_groups
from harness.schema.gain_links import baseline_steps, chain_links

CHAIN = "chain"
ALONE = "part set back alone"
TOGETHER = "all parts together"
LATENCY, THROUGHPUT = "latency", "time"


@dataclass(frozen=True)
class Measured:
    """A figure with the ends of its 95 % interval; NaN where it was not measured."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Gain:
    """What a part, or several, brought to a row."""

    row: Series
    kind: str
    """CHAIN, ALONE or TOGETHER."""
    part: str
    """The part of the link; of TOGETHER "all"."""
    parts: tuple[str, ...]
    """The parts that differ between `before` and `after`: several where rows between them are missing."""
    before: Series | None
    after: Series | None
    missing: str = ""
    """The row that is missing, by its printed name, and why; "" where none is."""
    fid: PairedDifference = field(default_factory=PairedDifference)
    """FID of `after` minus that of `before`."""
    time: Measured = Measured()
    """Time of `after` over that of `before`."""
    measure: str = THROUGHPUT
    """LATENCY or THROUGHPUT: of what the time is."""


def find_gains(analysis: Analysis) -> list[Gain]:
    """Return the links of every ranked row that differs from the baseline, in order of the classes."""
    figures = training_figures(analysis.members, analysis.member_replicates["fid"], "fid")
    found: list[Gain] = []
    for group in lookup_groups(analysis):
        for _, row in group.rows.iterrows():
            if group.baseline_keys is not None and row["solver"] != "own":  # a wrapped one has no parts to set back
                found += _RowGains(group, group.baseline_keys, row, figures).links()
    return found


class _RowGains:
    """The links of one row."""

    def __init__(self, group: RowLookup, base: dict[str, str], row: Series, figures: TrainingFigures) -> None:
        self.group = group
        self.base = base
        self.row = row
        self.own = group.keys_of(row)
        self.figures = figures

    def links(self) -> list[Gain]:
        """Return the chain; where it has several links, also the parts set back alone, and all together."""
        states = chain_links(self.base, self.own)
        found = list(self._chain(states))
        if len(states) > 1:
            alone = [self._set_back(part) for part, _ in states]
            found += [gain for gain in alone if gain.before is not None]
            found.append(self._all_together(tuple(part for part, _ in states)))
        return found

    def _chain(self, states: list[tuple[str, dict[str, str]]]) -> Iterator[Gain]:
        before, no_start = self._find_start(self.base)
        pending: tuple[str, ...] = ()

        for part, keys in states:
            pending = (*pending, part)
            after = self.row if keys == self.own else self.group.find(keys, self.row["steps"])
            if after is None:
                missing = self.group.explain_missing(keys, self.row["steps"])
                yield Gain(self.row, CHAIN, part, pending, before, None, missing)
                continue
            yield self._gain(CHAIN, part, pending, before, after, no_start)
            before, pending = after, ()

    def _set_back(self, part: str) -> Gain:
        """Return what the row gains over the one with the baseline's part there."""
        before, missing = self._find_start({**self.own, part: self.base[part]})
        return self._gain(ALONE, part, (part,), before, self.row, missing)

    def _all_together(self, parts: tuple[str, ...]) -> Gain:
        before, missing = self._find_start(self.base)
        return self._gain(TOGETHER, "all", parts, before, self.row, missing)

    def _find_start(self, keys: dict[str, str]) -> tuple[Series | None, str]:
        """Return the row of these parts with as many evaluations as the own row; None and why where it is missing.

        `keys` are those of the baseline, or of the own row with one part of the baseline.
        """
        steps, reason = self._equal_evaluations(keys)
        if steps is None:
            return None, reason
        found = self.group.find(keys, steps)
        return found, "" if found is not None else self.group.explain_missing(keys, steps)

    def _equal_evaluations(self, keys: dict[str, str]) -> tuple[int | None, str]:
        """Return the steps that these parts take for the own row's evaluations; None and why where there are none."""
        steps = int(self.row["steps"])
        if keys["solver"] == self.own["solver"]:
            return steps, ""

        # solvers that differ may take more or fewer evaluations a step
        own, other = (self.group.evaluations_per_step(solver) for solver in (self.own, keys))
        if own is None or other is None:
            return None, "evaluations of a step are unknown without a serial row of the solver"
        fitting = baseline_steps(steps, own, other)
        return fitting, f"{steps * own} evaluations are no whole number of the baseline's steps"

    def _gain(
        self, kind: str, part: str, parts: tuple[str, ...], before: Series | None, after: Series, missing: str
    ) -> Gain:
        """Return a link with its figures; without a row before it, with the one that is missing."""
        serial = after["executor"] == "serial" and (before is None or before["executor"] == "serial")
        measure = THROUGHPUT if serial else LATENCY
        if before is None:
            return Gain(self.row, kind, part, parts, None, after, missing, measure=measure)
        fid = self.figures.subtract(after["trial_id"], before["trial_id"])
        time = _ratio(after, before, "relative_time") if serial else _latency_ratio(after, before, parts)
        return Gain(self.row, kind, part, parts, before, after, "", fid, time, measure)


def _latency_ratio(row: Series, other: Series, parts: tuple[str, ...]) -> Measured:
    """Return the row's latency over the other's; where the executor alone differs, of pairs in one timing block."""
    if parts == ("executor",) and other["executor"] == "serial" and row["speedup_over_serial"] > 0:
        ends = (row["speedup_over_serial_high"], row["speedup_over_serial_low"])
        return Measured(1 / row["speedup_over_serial"], *(1 / end for end in ends))
    paired = row["relative_latency"] > 0 and other["relative_latency"] > 0
    return _ratio(row, other, "relative_latency" if paired else "pooled_latency_seconds")


def _ratio(row: Series, other: Series, column: str) -> Measured:
    """Return a time over the other's; the intervals of both are combined in log space."""
    names = (column, f"{column}_low", f"{column}_high")
    own, others = (np.array([one[name] for name in names], dtype=np.float64) for one in (row, other))
    if not (own[0] > 0 and others[0] > 0):
        return Measured()

    with np.errstate(invalid="ignore", divide="ignore"):
        own, others = np.log(own), np.log(others)
    value = own[0] - others[0]
    down = math.hypot(own[0] - own[1], others[2] - others[0])
    up = math.hypot(own[2] - own[0], others[0] - others[1])
    return Measured(math.exp(value), math.exp(value - down), math.exp(value + up))
