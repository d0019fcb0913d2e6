"""Pairs of rows: a method and the whole network at equal steps, a method and its controls.

A tuned method is also compared with the whole network that was tuned for as long.
Differences of FID and of truncation error are taken within each training, paired by image, then over trainings.
Times are ratios of two times over one clock; their intervals are combined in log space.
Control verdicts of a suite are one family: Holm's step-down decides which differences of FID are shown.
The sentences are made in harness.report.analysis.verdicts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.alike import find_alike, part_parameters
from harness.report.analysis.derive import Analysis, ResourceClass
from harness.report.analysis.inference import holm
from harness.report.analysis.paired import PairedDifference, TrainingFigures, training_figures
from harness.report.analysis.saved_work import time_yield
from harness.report.analysis.verdicts import EXACT, Evidence, control_sentence, finding_sentence

WHOLE = "the whole network"
WHOLE_TUNED = "the whole network, tuned as long"
CONTROL = "control"
_TUNED_AS_LONG = ("tune_steps", "tune_batch", "tune_lr")
"""Parameters of a denoiser: equal where it was tuned on as many images at the same rate."""


@dataclass(frozen=True)
class Comparison:
    """A row and another of its class. Every number is NaN where it was not measured."""

    row: Series
    other: Series
    kind: str
    """WHOLE, WHOLE_TUNED or CONTROL; a control that is also WHOLE_TUNED makes two pairs."""
    fid: PairedDifference
    """FID minus the other's."""
    errors: PairedDifference
    """Truncation error minus the other's, each to its own network; both measured at the same images."""
    time: float
    """Time over the other's, with its 95 % interval."""
    time_low: float
    time_high: float
    flops: float
    """FLOPs per image over the other's."""
    p_holm: float = math.nan
    """The p-value of the difference of FID, adjusted in the suite's family of control verdicts; NaN outside it."""
    family: int = 0
    """Size of that family."""

    @property
    def difference(self) -> float:
        """Return FID minus the other's."""
        return self.fid.value

    @property
    def difference_half(self) -> float:
        """Return half the 95 % interval of the difference."""
        return self.fid.half

    @property
    def truncation(self) -> float:
        """Return truncation error minus the other's."""
        return self.errors.value

    @property
    def truncation_half(self) -> float:
        """Return half the 95 % interval of that."""
        return self.errors.half

    @property
    def trainings(self) -> int:
        """Return over how many trainings the difference of FID was taken."""
        return len(self.fid.by_training)

    @property
    def flops_yield(self) -> float:
        """Return the share of the saved arithmetic that became saved time; NaN where too little was saved."""
        return time_yield(self.time, self.flops)[0]

    @property
    def flops_yield_note(self) -> str:
        """Return why the yield is empty."""
        return time_yield(self.time, self.flops)[1]

    @property
    def parameters(self) -> float:
        """Return the parameters of the row's network over those of the other's."""
        return self.row["parameters"] / self.other["parameters"] if self.other["parameters"] > 0 else math.nan

    @property
    def evidence(self) -> Evidence:
        """Return what the sentences are made from."""
        margin = float(self.row["equivalence_margin"])
        return Evidence(
            self.difference, self.difference_half, self.p_holm, self.family, self.time_high, margin, self.trainings,
            self.row["returned"], self.row["weights"] == EXACT,
        )  # fmt: skip

    @property
    def finding(self) -> str:
        """Return in words what the paired difference of FID shows by itself, at 95 %."""
        return finding_sentence(self.evidence)

    @property
    def verdict(self) -> str:
        """Return whether the method beats its control in FID, or in time at equal FID."""
        return control_sentence(self.evidence)


def find_comparisons(analysis: Analysis) -> list[Comparison]:
    """Return all pairs, in order of the leaderboard."""
    figures = {
        name: training_figures(analysis.members, analysis.member_replicates[name], name)
        for name in ("fid", "truncation_error")
    }

    found = []
    for one in analysis.classes:
        for _, row in one.rows.iterrows():
            # the whole network, as it was trained
            whole = _find_whole_network(row, one, analysis.members)
            if whole is not None:
                found.append(_compare_rows(row, whole, WHOLE, figures))

            # the controls, of which some are the whole network tuned as long
            controls = one.rows.loc[[row["trial_id"] in ids.split() for ids in one.rows["control_of_trial_id"]]]
            tuned = controls.loc[_are_whole_and_tuned_as_long(row, controls, analysis.tables["steps"])]
            found += [_compare_rows(row, other, WHOLE_TUNED, figures) for _, other in tuned.iterrows()]
            found += [_compare_rows(row, control, CONTROL, figures) for _, control in controls.iterrows()]
    return _correct_families(found)


def control_families(pairs: list[Comparison]) -> dict[str, list[Comparison]]:
    """Return each suite's family of control verdicts: the pairs that have a p-value and make a claim."""
    families: dict[str, list[Comparison]] = {}
    for pair in pairs:
        if pair.kind == CONTROL and not math.isnan(pair.fid.p) and not pair.row["returned"]:
            families.setdefault(pair.row["suite"], []).append(pair)
    return families


def _correct_families(pairs: list[Comparison]) -> list[Comparison]:
    """Return the pairs with the p-values of each suite's family adjusted by Holm's step-down."""
    adjusted = {}
    for family in control_families(pairs).values():
        for pair, p in zip(family, holm([one.fid.p for one in family]), strict=True):
            adjusted[id(pair)] = replace(pair, p_holm=p, family=len(family))
    return [adjusted.get(id(pair), pair) for pair in pairs]


def _find_whole_network(row: Series, one: ResourceClass, members: DataFrame) -> Series | None:
    """Return the row that differs in its denoiser alone, which is the whole network.

    A parameter that both denoisers have, such as compilation, must be equal too.
    It is looked for among the members of each training, whose weights must be equal.
    None unless there is exactly one in the first training that has any.
    """
    if row["denoiser"] == "full":
        return None

    whole = members[members["row_id"].isin(one.rows["trial_id"]) & (members["denoiser"] == "full")]
    for _, member in members[members["row_id"] == row["trial_id"]].iterrows():
        found = whole[_differ_in_denoiser_alone(whole, member)]
        own = part_parameters(member, "denoiser")
        agree = [
            all(own.get(k, v) == v for k, v in part_parameters(other, "denoiser").items())
            for _, other in found.iterrows()
        ]
        found = found[agree]
        if len(found):
            rows = one.rows[one.rows["trial_id"].isin(found["row_id"])]
            return rows.iloc[0] if len(rows) == 1 else None
    return None


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
    columns = ("steps", "batch", "precision_dtype", "seed_sets")
    return find_alike(rows, row, ("schedule", "solver", "executor"), columns)


def _compare_rows(row: Series, other: Series, kind: str, figures: dict[str, TrainingFigures]) -> Comparison:
    time, low, high = time_ratio(row, other)
    # truncation errors compare at equal images only
    same_images = row["truncation_images"] == other["truncation_images"]
    ids = row["trial_id"], other["trial_id"]

    return Comparison(
        row=row,
        other=other,
        kind=kind,
        fid=figures["fid"].subtract(*ids),
        errors=figures["truncation_error"].subtract(*ids) if same_images else PairedDifference(),
        time=time,
        time_low=low,
        time_high=high,
        flops=row["flops_per_image"] / other["flops_per_image"] if other["flops_per_image"] > 0 else math.nan,
    )


def time_ratio(row: Series, other: Series) -> tuple[float, float, float]:
    """Return the row's time over the other's with its interval.

    By throughput; by latency where one of the executors is a parallel one.
    """
    serial = row["executor"] == other["executor"] == "serial"
    name = "relative_time" if serial else "relative_latency"
    columns = (name, f"{name}_low", f"{name}_high")
    own, others = (np.array([one.get(c, math.nan) for c in columns], dtype=np.float64) for one in (row, other))
    if not ((own > 0).all() and (others > 0).all()):
        return math.nan, math.nan, math.nan

    # ends in log space, each row's own
    own, others = np.log(own), np.log(others)
    value = own[0] - others[0]
    down = math.hypot(own[0] - own[1], others[2] - others[0])
    up = math.hypot(own[2] - own[0], others[0] - others[1])
    return math.exp(value), math.exp(value - down), math.exp(value + up)
