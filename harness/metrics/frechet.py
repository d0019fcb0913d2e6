"""Frechet distance of two sets of features, each taken as a Gaussian (Heusel et al. 2017), and its bias floor.

|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). With S1 = L LT kept from the reference, the eigenvalues of S1 S2 are
those of the symmetric LT S2 L: one `eigvalsh`, no matrix root, no complex numbers. Of a triangular L LAPACK's `sygst`
makes that product at a quarter of the work of two matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.linalg.lapack import dsygst
from scipy.stats import gamma

from harness.metrics.moments import Array, Moments


@dataclass(frozen=True)
class ReferenceMoments:
    """Statistics of the reference set, with what every score against it needs."""

    n: int | None  # images; None where it is not stated
    mean: Array  # [d]
    factor: Array  # L with L LT = covariance, [d, r]; r = d unless the covariance is singular
    eigenvalues: Array  # of the covariance, ascending, none below 0, [d]

    @classmethod
    def of(cls, moments: Moments) -> ReferenceMoments:
        """Return the moments with the covariance factored."""
        return cls.of_covariance(moments.n, moments.mean, moments.covariance())

    @classmethod
    def of_covariance(cls, n: int | None, mean: Array, covariance: Array) -> ReferenceMoments:
        """Return the mean [d] and the covariance [d, d] of n images, the covariance factored.

        By Cholesky, or by eigenvectors where it is singular (dead features, n <= d).
        """
        try:
            factor = np.asfortranarray(np.linalg.cholesky(covariance), dtype=np.float64)
            return cls(n, mean, factor, np.linalg.eigvalsh(covariance).clip(min=0))
        except np.linalg.LinAlgError:
            values, vectors = np.linalg.eigh(covariance)
            values = values.clip(min=0)
            kept = values > values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps
            scaled = np.asarray(vectors[:, kept] * np.sqrt(values[kept]), dtype=np.float64)
            return cls(n, mean, scaled, values)


def frechet_distance(reference: ReferenceMoments, moments: Moments) -> float:
    """Return the squared Frechet distance (units of the features, squared) of a set to the reference."""
    difference = reference.mean - moments.mean
    inner = _congruence(moments.m2, reference.factor)
    eigenvalues = eigh(inner, eigvals_only=True, overwrite_a=True, check_finite=False) / (moments.n - 1)
    trace_of_root = np.sqrt(eigenvalues.clip(min=0)).sum()  # rounding leaves tiny negatives
    traces = reference.eigenvalues.sum() + np.trace(moments.m2) / (moments.n - 1)
    return float(difference @ difference + traces - 2 * trace_of_root)


def _congruence(symmetric: Array, factor: Array) -> Array:
    """Return LT S L of a symmetric S; where the factor L is a Cholesky factor, only its lower triangle is right."""
    if factor.shape[0] != factor.shape[1] or np.triu(factor, 1).any():
        return np.asarray(factor.T @ (symmetric @ factor))
    found, info = dsygst(symmetric.T, factor, itype=2, lower=1)  # S.T is S, in the order that LAPACK reads
    if info:
        raise ValueError(f"found arguments of sygst that it refuses, number {-info}")
    return np.asarray(found)


def bias_floor(reference: ReferenceMoments, n_generated: int, n_reference: int) -> float:
    """Return the distance that a perfect sampler still shows: b/n_generated + b/n_reference.

    b = tr S + 1/2 sum_ij s_i s_j (1 + [i = j]) / (s_i + s_j), s the reference's eigenvalues: second-order delta method
    for Gaussian features (the idea of Chong & Forsyth 2020, here in closed form). Both sets' finite size is included,
    the mean's part (tr S) and the covariance's (the sum); a generator that copies the reference goes below it.
    """
    s = reference.eigenvalues
    totals = s[:, None] + s[None, :]
    pairs = np.divide(np.outer(s, s), totals, out=np.zeros_like(totals), where=totals > 0)
    b = s.sum() + 0.5 * (pairs.sum() + np.trace(pairs))
    return float(b * (1 / n_generated + 1 / n_reference))


def drawn_distance(reference: ReferenceMoments, n_generated: int, chance: float) -> float:
    """Return a distance that images drawn from the reference set itself, with replacement, fall below by this chance.

    To second order the distance is a sum of squared unit Gaussians over n_generated, whose weights are s_i for the
    mean, s_i / 2 and s_i s_j / (s_i + s_j), i < j, for the covariance; its law is taken as the gamma law of the same
    mean and variance.
    """
    s = reference.eigenvalues[reference.eigenvalues > 0]
    upper = np.triu_indices(len(s), 1)
    weights = np.concatenate([s, s / 2, s[upper[0]] * s[upper[1]] / (s[upper[0]] + s[upper[1]])])
    mean, variance = weights.sum(), 2 * np.square(weights).sum()
    if not variance:
        return 0.0
    return float(gamma.ppf(chance, mean**2 / variance, scale=variance / mean) / n_generated)
