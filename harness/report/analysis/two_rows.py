"""Two rows, or the rows of two results folders with one name: which differences of quality and time are shown.

A difference of FID is paired by image within each training where both rows were sampled from the same noise; else its
interval is that of two independent figures. Times are compared as speeds over the clock, which a folder times with each
row: so two machines of one kind compare, and a change that makes all of it faster does not show.
Over several rows p-values are adjusted by Holm's step-down, and a difference is shown at 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
from pandas import Series

from harness.report.analysis.comparisons import time_ratio
from harness.report.analysis.derive import Analysis
from harness.report.analysis.inference import holm
from harness.report.analysis.method_lines import distinct_names
from harness.report.analysis.paired import TrainingFigures, training_figures
from harness.report.analysis.verdicts import ERROR_RATE

_SAME_QUALITY = ("dataset", "extractor_sha256", "reference", "reference_n", "n_images")
_SAME_NOISE = ("dataset", "n_images", "seed_sets", "state_shape")
_SAME_TIMES = ("device_name", "devices", "timing_tier", "timing_mode")
_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class FigureChange:
    """One figure of two rows: of the first, of the second, and the change from the first to the second."""

    before: float
    after: float
    value: float = math.nan
    """A difference for FID, a ratio for times and FLOPs; NaN where the two do not compare."""
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    """Of no change; adjusted over the rows of two folders. NaN where there is no interval."""
    why_not: str = ""
    """Why the two do not compare."""
    note: str = ""
    """What the change is taken over, where that is less than the two figures are."""

    @property
    def is_shown(self) -> bool:
        """Return whether a change is shown."""
        return self.p <= ERROR_RATE


@dataclass(frozen=True)
class RowChange:
    """Two rows, and what changed from the first to the second."""

    name: str
    other: str
    fid: FigureChange
    time: FigureChange
    flops: FigureChange


@dataclass(frozen=True)
class FolderChange:
    """The rows of two folders: those that both have, by name, and the names that one has alone."""

    rows: list[RowChange] = field(default_factory=list)
    only_before: list[str] = field(default_factory=list)
    only_after: list[str] = field(default_factory=list)


def compare_rows(analysis: Analysis, before: Series, after: Series) -> RowChange:
    """Return what changes from one ranked row of a folder to another."""
    rows = named_rows(analysis)
    figures = training_figures(analysis.members, analysis.member_replicates["fid"], "fid")
    names = {str(row["trial_id"]): name for name, row in rows.items()}
    return _change(names[before["trial_id"]], names[after["trial_id"]], before, after, figures)


def compare_folders(before: Analysis, after: Analysis) -> FolderChange:
    """Return what changed from the ranked rows of one folder to those of the same names in another."""
    olds, news = named_rows(before), named_rows(after)
    both = [name for name in news if name in olds]
    figures = _figures_of_both(before, after)

    changes = [
        _change(name, name, _marked(olds[name], "before"), _marked(news[name], "after"), figures) for name in both
    ]
    return FolderChange(
        _adjusted(changes),
        only_before=[name for name in olds if name not in news],
        only_after=[name for name in news if name not in olds],
    )


def named_rows(analysis: Analysis) -> Mapping[str, Series]:
    """Return the ranked rows of a folder by their printed names, in order of the leaderboard."""
    parts = [one.rows for one in analysis.classes if len(one.rows)]
    if not parts:
        return {}
    rows = pd.concat(parts, ignore_index=True)
    return {str(name): row for name, (_, row) in zip(distinct_names(rows), rows.iterrows(), strict=True)}


def _marked(row: Series, folder: str) -> Series:
    """Return a row whose id says of which folder it is: both folders may have the same trial."""
    return pd.concat([row.drop("trial_id"), Series({"trial_id": f"{folder} {row['trial_id']}"})])


def _figures_of_both(before: Analysis, after: Analysis) -> TrainingFigures:
    """Return the FIDs of both folders by training; ids say of which folder they are."""
    members, replicates = [], []
    for folder, one in (("before", before), ("after", after)):
        marked = {name: folder + " " + one.members[name].astype(str) for name in ("trial_id", "row_id")}
        members.append(one.members.assign(**marked))
        replicates.append(
            one.member_replicates["fid"].set_axis([f"{folder} {name}" for name in one.member_replicates["fid"].index])
        )
    return training_figures(pd.concat(members, ignore_index=True), pd.concat(replicates), "fid")


def _change(name: str, other: str, before: Series, after: Series, figures: TrainingFigures) -> RowChange:
    counted = before["flops_per_image"], after["flops_per_image"]
    return RowChange(
        name=name,
        other=other,
        fid=_fid_change(before, after, figures),
        time=_time_change(before, after),
        flops=FigureChange(*counted, value=counted[1] / counted[0] if counted[0] > 0 else math.nan),
    )


def _fid_change(before: Series, after: Series, figures: TrainingFigures) -> FigureChange:
    change = FigureChange(before["fid"], after["fid"])
    if unlike := _unlike(before, after, _SAME_QUALITY):
        return replace(change, why_not=f"FIDs do not compare: other {unlike}")

    # from the same noise: paired by image
    if not _unlike(before, after, _SAME_NOISE):
        paired = figures.subtract(after["trial_id"], before["trial_id"])
        if not math.isnan(paired.half):
            low, high = paired.value - paired.half, paired.value + paired.half
            common = len(paired.by_training)
            note = f"over {common} common trainings" if common < max(before["trainings"], after["trainings"]) else ""
            return replace(change, value=paired.value, low=low, high=high, p=paired.p, note=note)

    # independent
    value = after["fid"] - before["fid"]
    half = math.hypot(*(one["fid_high"] - one["fid"] for one in (before, after)))
    return replace(change, value=value, low=value - half, high=value + half, p=_normal_p(value, half))


def _time_change(before: Series, after: Series) -> FigureChange:
    """Return the change of a row's time over the clock's."""
    change = FigureChange(before["relative_time"], after["relative_time"])
    if unlike := _unlike(before, after, _SAME_TIMES):
        return replace(change, why_not=f"times do not compare: other {unlike}")
    value, low, high = time_ratio(after, before)
    if not (0 < low <= high):
        return replace(change, why_not="times were not measured")
    half = (math.log(high) - math.log(low)) / 2
    return replace(change, value=value, low=low, high=high, p=_normal_p(math.log(value), half))


def _unlike(before: Series, after: Series, columns: Sequence[str]) -> str:
    """Return the columns in which two rows differ, as words."""
    found = [
        name for name in columns if before[name] != after[name] and not (pd.isna(before[name]) and pd.isna(after[name]))
    ]
    return ", ".join(name.replace("_", " ") for name in found)


def _normal_p(value: float, half: float) -> float:
    """Return the two-sided p-value of 0 for a normal estimate with half its 95 % interval; NaN without one."""
    if math.isnan(value) or math.isnan(half):
        return math.nan
    if half == 0:
        return 1.0 if value == 0 else 0.0
    return math.erfc(abs(value) / half * _NORMAL_95 / math.sqrt(2))


def _adjusted(changes: list[RowChange]) -> list[RowChange]:
    """Return the changes with p-values adjusted over all rows, FIDs and times each as one family."""
    fids, times = (holm([getattr(one, name).p for one in changes]) for name in ("fid", "time"))
    return [
        replace(one, fid=replace(one.fid, p=fid), time=replace(one.time, p=time))
        for one, fid, time in zip(changes, fids, times, strict=True)
    ]
