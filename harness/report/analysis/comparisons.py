"""Rows compared two by two: a method with the whole network at equal steps, and with the controls its suite names.

A control that is the whole network tuned as long as the method stands beside the whole network as it was trained.

Differences of FID and of truncation error are paired by image through the jackknife replicates. Times are ratios of two
speed-ups over the same clock, whose intervals are combined in log space.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.alike import alike, parameters
from harness.report.analysis.derive import Analysis, ResourceClass
from harness.report.analysis.replicates import half_width, shared
from harness.report.formats import DASH, csv_text, interval, number
from harness.report.leaderboard import name_count
from harness.report.sections import Section

WHOLE = "the whole network"
WHOLE_TUNED = "the whole network, tuned as long"
CONTROL = "control"
_TUNED_AS_LONG = ("tune_steps", "tune_batch", "tune_lr")  # of a denoiser: equal images seen, at an equal rate
_NO_SAVING = 0.999  # share of the other's FLOPs above which a yield is timing noise
_CSV_COLUMNS = (
    "kind", "trial_id", "network", "method", "steps", "nfe", "other_trial_id", "other_network", "other_method", "fid",
    "other_fid", "fid_difference", "fid_difference_low", "fid_difference_high", "truncation_error",
    "other_truncation_error", "truncation_difference", "truncation_difference_low", "truncation_difference_high",
    "parameters_ratio", "flops_ratio", "time_ratio", "time_ratio_low", "time_ratio_high", "flops_to_time_yield",
    "finding",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """A row against another of its class; every number is NaN where it was not measured."""

    row: Series
    other: Series
    kind: str
    """WHOLE, WHOLE_TUNED or CONTROL; a control that is also the whole network, tuned as long, makes two pairs."""
    difference: float
    difference_half: float
    truncation: float
    """Difference of truncation error, each to its own network; both sides measured at the same images."""
    truncation_half: float
    time: float
    time_low: float
    time_high: float
    flops: float

    @property
    def flops_yield(self) -> float:
        """Return the share of the saved arithmetic that became saved time; NaN where none was saved."""
        return (1 - self.time) / (1 - self.flops) if self.flops < _NO_SAVING else math.nan

    @property
    def parameters(self) -> float:
        """Return the parameters of the row's network over those of the other's."""
        return self.row["parameters"] / self.other["parameters"] if self.other["parameters"] > 0 else math.nan

    @property
    def finding(self) -> str:
        """Return in words what the paired difference of FID shows."""
        if math.isnan(self.difference_half):
            return "no interval, no finding"
        if abs(self.difference) <= self.difference_half:
            return "no difference in FID shown"
        return "lower FID" if self.difference < 0 else "higher FID"

    @property
    def verdict(self) -> str:
        """Return whether the method beats its control in FID, or in time where FID shows no difference.

        Where preparing returned something else than it was to make, that is said, and nothing is claimed.
        """
        if self.row["returned"]:
            return f"returned {self.row['returned']}; no claim"
        if self.finding == "lower FID":
            return "beats its control in FID"
        if self.finding == "higher FID":
            return "does not beat its control: higher FID"
        if self.finding == "no difference in FID shown" and self.time_high < 1:
            return "no difference in FID; faster than its control"
        return "does not beat its control: no difference shown" if "shown" in self.finding else self.finding


def comparisons(analysis: Analysis) -> list[Comparison]:
    """Return all pairs, in order of the leaderboard."""
    found = []
    for one in analysis.classes:
        for _, row in one.rows.iterrows():
            whole = _whole(row, one)
            if whole is not None:
                found.append(_compare(row, whole, WHOLE, analysis))
            controls = one.rows.loc[[row["trial_id"] in ids.split() for ids in one.rows["control_of_trial_id"]]]
            tuned = controls.loc[_tuned_wholes(row, controls, analysis.steps)]
            found += [_compare(row, other, WHOLE_TUNED, analysis) for _, other in tuned.iterrows()]
            found += [_compare(row, control, CONTROL, analysis) for _, control in controls.iterrows()]
    return found


def against_whole(pairs: list[Comparison]) -> Section:
    """Return what leaving out a part of the network saved and what it cost, per row.

    A row that was tuned stands twice where the suite has the whole network tuned as long.
    """
    several = _networks(pairs) > 1
    rows = [
        (
            _name(pair.row) + _place(pair.row, several),
            "as trained" if pair.kind == WHOLE else f"tuned as long: {pair.other['method']}",
            _ranged(pair.row["fid"], pair.row["fid_low"], pair.row["fid_high"]),
            _about(pair.difference, pair.difference_half),
            _plain(pair.flops),
            _ranged(pair.time, pair.time_low, pair.time_high),
            _plain(pair.flops_yield),
            pair.finding,
        )
        for pair in pairs
        if pair.kind in (WHOLE, WHOLE_TUNED)
    ]
    headings = ("Trial", "Whole network", "FID", "FID minus that of the whole network", "FLOPs ratio", "Time ratio",
                "FLOPs-to-time yield", "Finding")  # fmt: skip
    return Section(headings, rows)


def against_controls(pairs: list[Comparison]) -> Section:
    """Return each claim beside the control that it must beat."""
    several = _networks(pairs) > 1
    rows = [
        (
            _name(pair.row) + _place(pair.row, several),
            pair.other["method"] + _place(pair.other, several),
            _plain(pair.row["fid"]),
            _plain(pair.other["fid"]),
            _about(pair.difference, pair.difference_half),
            _plain(pair.parameters),
            _plain(pair.flops),
            _ranged(pair.time, pair.time_low, pair.time_high),
            _about(pair.truncation, pair.truncation_half),
            pair.verdict,
        )
        for pair in pairs
        if pair.kind == CONTROL
    ]
    headings = ("Trial", "Control", "FID", "FID of the control", "Difference", "Parameters ratio", "FLOPs ratio",
                "Time ratio", "Difference in truncation error", "Finding")  # fmt: skip
    return Section(headings, rows)


def to_csv(pairs: list[Comparison]) -> str:
    """Return every pair with its numbers in full; empty where not measured."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for pair in pairs:
        numbers = (
            pair.row["fid"], pair.other["fid"], pair.difference, pair.difference - pair.difference_half,
            pair.difference + pair.difference_half, pair.row["truncation_error"], pair.other["truncation_error"],
            pair.truncation, pair.truncation - pair.truncation_half, pair.truncation + pair.truncation_half,
            pair.parameters, pair.flops, pair.time, pair.time_low, pair.time_high, pair.flops_yield,
        )  # fmt: skip
        writer.writerow([
            pair.kind, pair.row["trial_id"], csv_text(pair.row["network"]), csv_text(pair.row["method"]),
            f"{pair.row['steps']:.0f}", repr(float(pair.row["nfe"])), pair.other["trial_id"],
            csv_text(pair.other["network"]), csv_text(pair.other["method"]),
            *(repr(float(value)) if value == value else "" for value in numbers),
            pair.verdict if pair.kind == CONTROL else pair.finding,
        ])  # fmt: skip
    return stream.getvalue()


def _whole(row: Series, one: ResourceClass) -> Series | None:
    """Return the row that differs in nothing but its denoiser, which is the whole network; None if not exactly one.

    A parameter that both denoisers have, as whether the network is compiled, must be equal too.
    """
    if row["denoiser"] == "full":
        return None
    found = one.rows[(one.rows["denoiser"] == "full") & _same_but_denoiser(one.rows, row)]
    mine = parameters(row, "denoiser")
    agree = [
        all(mine.get(k, v) == v for k, v in parameters(other, "denoiser").items()) for _, other in found.iterrows()
    ]
    found = found[agree]
    return found.iloc[0] if len(found) == 1 else None


def _tuned_wholes(row: Series, controls: DataFrame, steps: DataFrame) -> list[bool]:
    """Return which controls are the whole network, tuned on as many images at the same rate, and differ in no more.

    The network is whole where all of its operations, and none besides, ran in every step.
    """
    mine = parameters(row, "denoiser")
    if not all(mine.get(name, 0) for name in _TUNED_AS_LONG):
        return [False] * len(controls)
    found = []
    for same, (_, control) in zip(_same_but_denoiser(controls, row), controls.iterrows(), strict=True):
        shares = steps[steps["trial_id"] == control["trial_id"]]["network_share"]
        theirs = parameters(control, "denoiser")
        as_long = all(theirs.get(name) == mine[name] for name in _TUNED_AS_LONG)
        found.append(bool(same and as_long and len(shares) and (shares == 1).all()))
    return found


def _same_but_denoiser(rows: DataFrame, row: Series) -> Series:
    return alike(rows, row, ("schedule", "solver", "executor"), ("steps", "batch", "precision_dtype", "seed_sets"))


def _compare(row: Series, other: Series, kind: str, analysis: Analysis) -> Comparison:
    time, low, high = _time_ratio(row, other)
    same_images = row["truncation_images"] == other["truncation_images"]
    return Comparison(
        row=row,
        other=other,
        kind=kind,
        difference=row["fid"] - other["fid"],
        difference_half=_paired_half(row, other, analysis.replicates),
        truncation=row["truncation_error"] - other["truncation_error"] if same_images else math.nan,
        truncation_half=_paired_half(row, other, analysis.truncation) if same_images else math.nan,
        time=time,
        time_low=low,
        time_high=high,
        flops=row["flops_per_image"] / other["flops_per_image"] if other["flops_per_image"] > 0 else math.nan,
    )


def _paired_half(row: Series, other: Series, replicates: DataFrame) -> float:
    """Return half the interval of the paired difference; NaN where the two share fewer than two replicates."""
    values = shared(replicates, [row["trial_id"], other["trial_id"]])
    return math.nan if values is None else half_width(values[0] - values[1])


def _time_ratio(row: Series, other: Series) -> tuple[float, float, float]:
    """Return the row's time over the other's with its interval."""
    columns = ("speedup", "speedup_low", "speedup_high")
    mine, theirs = (np.array([one[c] for c in columns], dtype=np.float64) for one in (row, other))
    if not ((mine > 0).all() and (theirs > 0).all()):
        return math.nan, math.nan, math.nan
    mine, theirs = np.log(mine), np.log(theirs)
    value = theirs[0] - mine[0]
    down = math.hypot(theirs[0] - theirs[1], mine[2] - mine[0])
    up = math.hypot(theirs[2] - theirs[0], mine[0] - mine[1])
    return math.exp(value), math.exp(value - down), math.exp(value + up)


def _about(value: float, half: float) -> str:
    return _ranged(value, value - half, value + half)


def _ranged(value: float, low: float, high: float) -> str:
    return DASH if math.isnan(value) else f"{number(value)} {interval(low, high)}".strip()


def _plain(value: float) -> str:
    return DASH if math.isnan(value) else number(value)


def _networks(pairs: list[Comparison]) -> int:
    return len({one["network"] for pair in pairs for one in (pair.row, pair.other)})


def _place(row: Series, several: bool) -> str:
    """Return on which network a row stands, where the pairs stand on several."""
    return f" @ {row['network']}" if several else ""


def _name(row: Series) -> str:
    return f"{row['method']}, {name_count(row['nfe'], row['steps'])}"
