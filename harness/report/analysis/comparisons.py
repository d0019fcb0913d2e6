"""Pairs of rows: a method and the whole network at equal steps, a method and its controls.

A tuned method is also compared with the whole network that was tuned for as long.
Differences of FID and of truncation error are paired by image through the jackknife replicates.
Times are ratios of two speed-ups over one clock; their intervals are combined in log space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.alike import find_alike, part_parameters
from harness.report.analysis.derive import Analysis, ResourceClass
from harness.report.analysis.replicates import common_replicates, half_width

WHOLE = "the whole network"
WHOLE_TUNED = "the whole network, tuned as long"
CONTROL = "control"
_TUNED_AS_LONG = ("tune_steps", "tune_batch", "tune_lr")
"""Parameters of a denoiser: equal where it was tuned on as many images at the same rate."""
_NO_SAVING = 0.999
"""Share of the other's FLOPs above which a yield is timing noise."""


@dataclass(frozen=True)
class Comparison:
    """A row and another of its class. Every number is NaN where it was not measured."""

    row: Series
    other: Series
    kind: str
    """WHOLE, WHOLE_TUNED or CONTROL; a control that is also WHOLE_TUNED makes two pairs."""
    difference: float
    """FID minus the other's."""
    difference_half: float
    """Half the 95 % interval of the difference."""
    truncation: float
    """Truncation error minus the other's, each to its own network; both measured at the same images."""
    truncation_half: float
    time: float
    """Time over the other's, with its 95 % interval."""
    time_low: float
    time_high: float
    flops: float
    """FLOPs per image over the other's."""

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
        """Return whether the method beats its control in FID, or in time at equal FID.

        Where preparing returned something else than it should have made, nothing is claimed.
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


def find_comparisons(analysis: Analysis) -> list[Comparison]:
    """Return all pairs, in order of the leaderboard."""
    found = []
    for one in analysis.classes:
        for _, row in one.rows.iterrows():
            # the whole network, as it was trained
            whole = _find_whole_network(row, one)
            if whole is not None:
                found.append(_compare_rows(row, whole, WHOLE, analysis))

            # the controls, of which some are the whole network tuned as long
            controls = one.rows.loc[[row["trial_id"] in ids.split() for ids in one.rows["control_of_trial_id"]]]
            tuned = controls.loc[_are_whole_and_tuned_as_long(row, controls, analysis.tables["steps"])]
            found += [_compare_rows(row, other, WHOLE_TUNED, analysis) for _, other in tuned.iterrows()]
            found += [_compare_rows(row, control, CONTROL, analysis) for _, control in controls.iterrows()]
    return found


def _find_whole_network(row: Series, one: ResourceClass) -> Series | None:
    """Return the row that differs in its denoiser alone, which is the whole network.

    A parameter that both denoisers have, such as compilation, must be equal too.
    None unless there is exactly one.
    """
    if row["denoiser"] == "full":
        return None

    found = one.rows[(one.rows["denoiser"] == "full") & _differ_in_denoiser_alone(one.rows, row)]
    own = part_parameters(row, "denoiser")
    agree = [
        all(own.get(k, v) == v for k, v in part_parameters(other, "denoiser").items()) for _, other in found.iterrows()
    ]
    found = found[agree]
    return found.iloc[0] if len(found) == 1 else None


def _are_whole_and_tuned_as_long(row: Series, controls: DataFrame, steps: DataFrame) -> list[bool]:
    """Return a flag [controls]: the whole network, tuned as long, equal in all else.

    As long: on as many images at the same rate.
    The network is whole where exactly all of its operations ran in every step.
    """
    own = part_parameters(row, "denoiser")
    if not all(own.get(name, 0) for name in _TUNED_AS_LONG):
        return [False] * len(controls)

    found = []
    for same, (_, control) in zip(_differ_in_denoiser_alone(controls, row), controls.iterrows(), strict=True):
        shares = steps[steps["trial_id"] == control["trial_id"]]["network_share"]
        other = part_parameters(control, "denoiser")
        as_long = all(other.get(name) == own[name] for name in _TUNED_AS_LONG)
        found.append(bool(same and as_long and len(shares) and (shares == 1).all()))
    return found


def _differ_in_denoiser_alone(rows: DataFrame, row: Series) -> Series:
    return find_alike(rows, row, ("schedule", "solver", "executor"), ("steps", "batch", "precision_dtype", "seed_sets"))


def _compare_rows(row: Series, other: Series, kind: str, analysis: Analysis) -> Comparison:
    time, low, high = _time_ratio(row, other)
    # truncation errors compare at equal images only
    same_images = row["truncation_images"] == other["truncation_images"]
    errors = analysis.replicates["truncation_error"] if same_images else DataFrame()

    return Comparison(
        row=row,
        other=other,
        kind=kind,
        difference=row["fid"] - other["fid"],
        difference_half=_paired_half_width(row, other, analysis.replicates["fid"]),
        truncation=row["truncation_error"] - other["truncation_error"] if same_images else math.nan,
        truncation_half=_paired_half_width(row, other, errors),
        time=time,
        time_low=low,
        time_high=high,
        flops=row["flops_per_image"] / other["flops_per_image"] if other["flops_per_image"] > 0 else math.nan,
    )


def _paired_half_width(row: Series, other: Series, replicates: DataFrame) -> float:
    """Return half the interval of the paired difference; NaN below two common replicates."""
    values = common_replicates(replicates, [row["trial_id"], other["trial_id"]])
    return math.nan if values is None else half_width(values[0] - values[1])


def _time_ratio(row: Series, other: Series) -> tuple[float, float, float]:
    """Return the row's time over the other's with its interval."""
    columns = ("speedup", "speedup_low", "speedup_high")
    own, others = (np.array([one[c] for c in columns], dtype=np.float64) for one in (row, other))
    if not ((own > 0).all() and (others > 0).all()):
        return math.nan, math.nan, math.nan

    own, others = np.log(own), np.log(others)
    value = others[0] - own[0]
    down = math.hypot(others[0] - others[1], own[2] - own[0])
    up = math.hypot(others[2] - others[0], own[0] - own[1])
    return math.exp(value), math.exp(value - down), math.exp(value + up)
