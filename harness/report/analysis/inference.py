"""Intervals and p-values of figures over trainings, and Holm's correction for many findings.

Of one training, the jackknife gives the error: the noise of images alone.
Of K trainings, Student's t over them gives it (K - 1 degrees of freedom; three give wide intervals).
All trainings sample from the same initial noise, so a part of the noise of images is common to them.
Their spread does not show that part: it is estimated from their replicates and added.

The common part of K trainings' variance of images V (mean of their own) and V_mean (of their mean):
V = common + own and V_mean = common + own / K, so common = (V_mean - V / K) / (1 - 1 / K).

Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6: 65-70.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats import LEVEL, standard_error

_LEAST_TAIL = 1e-15


@dataclass(frozen=True)
class ErrorPart:
    """An independent part of an estimate's error, in its unit, with the degrees of freedom of its own estimate."""

    standard_error: float
    degrees: int


def jackknife_parts(replicates: np.ndarray | None) -> list[ErrorPart]:
    """Return the error of one training's figure from its replicates [groups]; none below two groups."""
    if replicates is None or len(replicates) < 2:
        return []
    return [ErrorPart(standard_error(replicates.tolist()), len(replicates) - 1)]


def training_parts(values: np.ndarray, replicates: np.ndarray | None) -> list[ErrorPart]:
    """Return the errors of the mean of a figure over trainings.

    `values` [trainings] holds two or more; `replicates` [trainings, groups] is None where there are none.
    """
    count = len(values)
    parts = [ErrorPart(float(np.std(values, ddof=1)) / math.sqrt(count), count - 1)]
    if replicates is not None and replicates.shape[1] > 1:
        parts.append(ErrorPart(math.sqrt(common_variance(replicates)), replicates.shape[1] - 1))
    return parts


def common_variance(replicates: np.ndarray) -> float:
    """Return the variance of images that trainings share, from their replicates [trainings, groups]; never below 0."""
    count = len(replicates)
    of_mean = standard_error(replicates.mean(axis=0).tolist()) ** 2
    own = float(np.mean([standard_error(one.tolist()) ** 2 for one in replicates]))
    return max((of_mean - own / count) / (1 - 1 / count), 0.0)


def parts_half_width(parts: Sequence[ErrorPart], level: float = LEVEL) -> float:
    """Return half the interval of an estimate: each part's Student t width, added in squares; NaN without parts."""
    return _half_width_at(parts, (1 - level) / 2) if parts else math.nan


def two_sided_p(value: float, parts: Sequence[ErrorPart]) -> float:
    """Return the p-value of "the value is 0": 1 less the greatest level whose interval leaves out 0.

    NaN without parts.
    """
    from scipy.optimize import brentq
    from scipy.special import stdtr

    if not parts or math.isnan(value):
        return math.nan
    if value == 0:
        return 1.0
    present = [part for part in parts if part.standard_error > 0]
    if len(present) == 1:
        return 2 * float(stdtr(present[0].degrees, -abs(value) / present[0].standard_error))
    if abs(value) >= _half_width_at(parts, _LEAST_TAIL):
        return 2 * _LEAST_TAIL

    def excess(log_tail: float) -> float:
        return _half_width_at(parts, math.exp(log_tail)) - abs(value)

    return 2 * math.exp(brentq(excess, math.log(_LEAST_TAIL), math.log(0.5), xtol=1e-10))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values of one family, in the order given; NaN is no member."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")[: int(np.isfinite(values).sum())]  # NaN sorts last

    adjusted = np.full(len(values), math.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted.tolist()


def _half_width_at(parts: Sequence[ErrorPart], tail: float) -> float:
    """Return half the interval that leaves out `tail` on each side."""
    from scipy.special import stdtrit

    return math.hypot(*(-float(stdtrit(part.degrees, tail)) * part.standard_error for part in parts))
