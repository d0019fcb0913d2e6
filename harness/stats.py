"""Standard errors and intervals: the jackknife for figures without a formula, order statistics and bootstrap for times.

Delete-a-group jackknife (Tukey 1958):

Groups are K contiguous runs of image indices. Two methods sampled from the same noise leave out the same images, so
the difference of their replicates is a replicate of the difference: common variation cancels.

An interval is centred on the plain estimate. Replicates could also remove the 1/N bias (K theta - (K-1) mean), but the
interval would then not describe the figure in the table, nor compare with papers at equal N. So it covers the plain
figure for other noise, at this N and this reference; `harness.metrics.frechet` gives the bias floor separately. In a
paired difference of equal N the bias nearly cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GROUPS = 20
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its standard error and the ends of its 95 % interval, all in the estimate's unit."""

    value: float
    low: float
    high: float
    standard_error: float


def group_of(index: int, n: int, groups: int = GROUPS) -> int:
    """Return the group, 0 .. groups-1, of image `index` of n; sizes differ by one image at most."""
    if not 0 <= index < n:
        raise ValueError(f"found image index {index}; expected 0 to {n - 1}")
    return index * groups // n


def group_bounds(n: int, groups: int = GROUPS) -> list[int]:
    """Return the groups + 1 indices at which groups begin and end: group g is bounds[g] .. bounds[g+1]-1."""
    return [-(-g * n // groups) for g in range(groups + 1)]


def standard_error(replicates: Sequence[float]) -> float:
    """Return sqrt((K-1)/K sum (theta_k - mean)^2) of the K leave-one-group-out estimates."""
    values = np.asarray(replicates, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"found {len(values)} replicates; a jackknife needs at least 2")
    return float(np.sqrt((len(values) - 1) / len(values) * ((values - values.mean()) ** 2).sum()))


def interval(value: float, replicates: Sequence[float]) -> Interval:
    """Return the plain estimate +- t * SE, t of K - 1 degrees of freedom."""
    from scipy.special import stdtrit

    error = standard_error(replicates)
    half_width = float(stdtrit(len(replicates) - 1, 0.5 + LEVEL / 2)) * error
    return Interval(value, value - half_width, value + half_width, error)


def paired_difference(
    value_a: float, replicates_a: Sequence[float], value_b: float, replicates_b: Sequence[float]
) -> Interval:
    """Return a - b with its interval; both sides must have left out the same images, group by group."""
    if len(replicates_a) != len(replicates_b):
        raise ValueError(f"found {len(replicates_a)} and {len(replicates_b)} replicates; pairs need equal groups")
    differences = np.asarray(replicates_a, dtype=np.float64) - np.asarray(replicates_b, dtype=np.float64)
    return interval(value_a - value_b, differences.tolist())


def median_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Return the distribution-free 95 % interval of the median from order statistics, or None below six values.

    The interval [x_(k), x_(n+1-k)] covers the median with probability 1 - 2 P(B(n, 1/2) < k) (David and Nagaraja 2003).
    """
    from scipy.stats import binom

    n = len(values)
    if n < 6:
        return None
    k = int(binom.ppf(0.025, n, 0.5))
    ordered = np.sort(values)
    return float(ordered[k - 1]), float(ordered[n - k])


def ratio_interval(ratios: np.ndarray, seed: int = 0, draws: int = 2000) -> tuple[float, float, float]:
    """Return the median of per-pair ratios with its 95 % bootstrap interval over rounds (seeded)."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(ratios), size=(draws, len(ratios)))
    medians = np.median(ratios[picks], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(ratios)), float(low), float(high)
