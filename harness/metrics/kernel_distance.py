"""Kernel distance (KID, Binkowski et al. 2018) over all pairs: squared MMD, unbiased, cubic polynomial kernel.

k(x, y) = (x.y / d + 1)^3, torch-fidelity's default, in float64: near zero the three sums cancel. torch-fidelity
averages random subsets and prints their spread. Here every pair counts once. Sums are kept by jackknife group, so the
distance without a group costs nothing more. The reference is held fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from harness.metrics.feature_stream import Features
from harness.metrics.moments import Array

ROWS = 1024  # of a kernel block: at most ROWS x ROWS kernel values are in memory at once


@dataclass(frozen=True)
class KernelSums:
    """Sums of kernel values by jackknife group of the generated images."""

    own: Array  # pairs of different generated images, [K, K], symmetric
    cross: Array  # generated against reference, [K]
    reference_mean: float  # over pairs of different reference images
    counts: npt.NDArray[np.int64]  # generated images by group, [K]
    n_reference: int

    def distance(self, leave_out: int | None = None) -> float:
        """Return the unbiased squared MMD, of all generated images or without one group; may be negative."""
        kept = np.arange(len(self.counts)) != (-1 if leave_out is None else leave_out)
        m = int(self.counts[kept].sum())
        own = self.own[np.ix_(kept, kept)].sum() / (m * (m - 1))
        return float(own + self.reference_mean - 2 * self.cross[kept].sum() / (m * self.n_reference))


def kernel_sums(generated: Features, reference: Features, reference_mean: float, bounds: list[int]) -> KernelSums:
    """Return the sums of generated [m, d] against reference [n, d]; group g is rows bounds[g] .. bounds[g+1]-1.

    `reference_mean` is `pair_mean(reference)`: it is the same for every trial, so the caller caches it.
    """
    groups = [generated[a:b].astype(np.float64) for a, b in pairwise(bounds)]
    fixed = reference.astype(np.float64)
    own = np.zeros((len(groups), len(groups)))
    for i, x in enumerate(groups):
        own[i, i] = _off_diagonal_sum(x)
        for j in range(i):
            own[i, j] = own[j, i] = _block_sum(x, groups[j])
    cross = np.array([_block_sum(x, fixed) for x in groups])
    return KernelSums(own, cross, reference_mean, np.array([len(x) for x in groups]), len(fixed))


def pair_mean(features: Features) -> float:
    """Return the mean kernel value over pairs of different rows of features [n, d], n >= 2."""
    n = len(features)
    return _off_diagonal_sum(features.astype(np.float64)) / (n * (n - 1))


def _block_sum(x: Array, y: Array) -> float:
    """Return the sum of k over all pairs of x [m, d] and y [n, d]."""
    total = 0.0
    for i in range(0, len(x), ROWS):
        for j in range(0, len(y), ROWS):
            base = x[i : i + ROWS] @ y[j : j + ROWS].T / x.shape[1] + 1
            total += float((base * base * base).sum())
    return total


def _off_diagonal_sum(x: Array) -> float:
    """Return the sum of k over ordered pairs of different rows of x [m, d]; each unordered pair is computed once."""
    total = 0.0
    for i in range(0, len(x), ROWS):
        rows = x[i : i + ROWS]
        base = rows @ rows.T / x.shape[1] + 1
        np.fill_diagonal(base, 0.0)
        total += float((base * base * base).sum()) + 2 * _block_sum(rows, x[i + ROWS :])
    return total
