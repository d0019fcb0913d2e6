"""Differences of a figure between two rows: within each training first, then over trainings.

Within a training both rows have the same weights and the same noise, so what they share cancels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from pandas import DataFrame

from harness.report.analysis.inference import (
    ErrorPart,
    jackknife_parts,
    parts_half_width,
    training_parts,
    two_sided_p,
)

_Member = tuple[float, np.ndarray]
"""A figure in one training, and its replicates [groups] with NaN where a group is missing."""


@dataclass(frozen=True)
class PairedDifference:
    """A row's figure minus another's, the mean over the trainings that both have."""

    value: float = math.nan
    """NaN where no training has both."""
    half: float = math.nan
    """Half the 95 % interval; NaN where there are neither trainings nor replicates."""
    p: float = math.nan
    """Two-sided p-value of no difference, from the same distributions as the interval."""
    by_training: Mapping[float, float] = field(default_factory=dict)
    """The difference in each training, in order."""


@dataclass(frozen=True)
class TrainingFigures:
    """A figure of every row in each of its trainings: row_id -> training -> value and replicates."""

    rows: Mapping[str, Mapping[float, _Member]]

    def subtract(self, row_id: str, other_id: str) -> PairedDifference:
        """Return the figure of a row minus that of another."""
        own, others = self.rows.get(row_id, {}), self.rows.get(other_id, {})
        common = sorted(own.keys() & others.keys())
        if not common:
            return PairedDifference()

        # within each training
        values = np.array([own[k][0] - others[k][0] for k in common])
        replicates = np.array([own[k][1] - others[k][1] for k in common])
        replicates = replicates[:, np.isfinite(replicates).all(axis=0)]

        # over trainings
        parts = combined_parts(values, replicates)
        value = float(values.mean())
        return PairedDifference(
            value, parts_half_width(parts), two_sided_p(value, parts), dict(zip(common, values.tolist(), strict=True))
        )


def combined_parts(values: np.ndarray, replicates: np.ndarray) -> list[ErrorPart]:
    """Return the errors of the mean of `values` [trainings], which have replicates [trainings, groups].

    Of one training they are the jackknife's.
    """
    return jackknife_parts(replicates[0]) if len(values) == 1 else training_parts(values, replicates)


def training_figures(members: DataFrame, replicates: DataFrame, figure: str) -> TrainingFigures:
    """Return a figure of the members that have it; `replicates` are those of the members."""
    known = members[members[figure].notna()]
    left_out = replicates.reindex(known["trial_id"]).to_numpy(dtype=np.float64)

    rows: dict[str, dict[float, _Member]] = {}
    columns = (known[name] for name in ("row_id", "training", figure))
    for (row_id, training, value), own in zip(zip(*columns, strict=True), left_out, strict=True):
        rows.setdefault(row_id, {})[training] = (float(value), own)
    return TrainingFigures(rows)
