"""Streaming, mergeable float64 statistics of feature vectors (Chan, Golub & LeVeque 1979, pairwise update)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_ROWS = 32
"""Rows of M2 that are summed over all parts at once: a cache holds them, half a megabyte at 2048 features."""


@dataclass(frozen=True)
class Moments:
    """Count, mean and M2 (sum of outer products about the mean) of n feature vectors; units of the features.

    Raw moments (sum of x xT) lose every digit once the mean is large against the spread; these do not.
    """

    n: int
    mean: Array  # [d]
    m2: Array  # [d, d], exactly symmetric

    @classmethod
    def of(cls, features: npt.ArrayLike) -> Moments:
        """Return the statistics of features [n, d], n >= 1, computed in two passes in float64."""
        centred = np.array(features, dtype=np.float64)
        if centred.ndim != 2 or len(centred) == 0:
            raise ValueError(f"found features of shape {centred.shape}; expected [n, d] with n >= 1")
        mean = centred.mean(axis=0)
        centred -= mean
        return cls(len(centred), mean, centred.T @ centred)

    def merge(self, other: Moments) -> Moments:
        """Return the statistics of both sets together; the order of merging changes the last bit only."""
        n = self.n + other.n
        delta = other.mean - self.mean
        m2 = _symmetric_outer(delta, self.n * other.n / n)
        m2 += self.m2
        m2 += other.m2
        return Moments(n, self.mean + delta * (other.n / n), m2)

    def without(self, part: Moments) -> Moments:
        """Return the statistics of the set after one of its parts is taken out: the inverse of merge.

        Sound while the part is a small share of the set (a jackknife group): little is then cancelled.
        """
        n = self.n - part.n
        if n < 1:
            raise ValueError(f"cannot take {part.n} vectors out of {self.n}; at least one must stay")
        mean = self.mean + (self.mean - part.mean) * (part.n / n)
        m2 = _symmetric_outer(part.mean - mean, -n * part.n / self.n)
        m2 += self.m2
        m2 -= part.m2
        return Moments(n, mean, m2)

    def covariance(self) -> Array:
        """Return the unbiased covariance M2 / (n - 1), [d, d]."""
        if self.n < 2:
            raise ValueError(f"found {self.n} vector; a covariance needs at least 2")
        return self.m2 / (self.n - 1)


def merge_all(parts: Sequence[Moments]) -> Moments:
    """Return the statistics of all parts, summed from first to last: give them in index order for equal bytes.

    All at once: M2 = sum M2_k + sum n_k d_k d_kT, d_k from the common mean; one matrix product instead of an outer
    product for each part.
    """
    if not parts:
        raise ValueError("found no statistics to merge; expected at least one part")
    counts = np.array([part.n for part in parts], dtype=np.float64)
    means = np.stack([part.mean for part in parts])
    n = sum(part.n for part in parts)
    mean = means[0] + counts @ (means - means[0]) / n  # about the first mean: no digits lost to a large offset
    spread = (means - mean) * np.sqrt(counts)[:, None]
    m2 = spread.T @ spread
    for first in range(0, len(m2), _ROWS):
        sums = m2[first : first + _ROWS]
        for part in parts:
            sums += part.m2[first : first + _ROWS]
    return Moments(n, mean, m2)


def _symmetric_outer(delta: Array, weight: float) -> Array:
    """Return weight * delta deltaT, [d, d]: the product first, so that both halves round alike."""
    product = np.outer(delta, delta)
    product *= weight
    return product
