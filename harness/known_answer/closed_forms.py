"""What theory gives: Euler's steps on Gaussian data, and the FID of a sample between known Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.metrics.moments import Array


def euler_factor(sigmas: Array, c: float) -> float:
    """Return the end of Euler's trajectory over its start, for data of standard deviation c about 0.

    prod_i cos(theta_i - theta_(i+1)) times that of the exact flow, theta = arctan(sigma / c).
    """
    return float(np.prod(np.cos(np.diff(np.arctan(sigmas / c)))) * flow_factor(sigmas, c))


def flow_factor(sigmas: Array, c: float) -> float:
    """Return the end of the exact trajectory over its start: the ratio of the standard deviations there."""
    return float(np.hypot(c, sigmas[-1]) / np.hypot(c, sigmas[0]))


@dataclass(frozen=True)
class KnownFID:
    """The expected FID of a finite sample, and its standard error."""

    value: float
    standard_error: float


def sample_fid(n: int, std: float, eigenvalues: Array, shift: Array) -> KnownFID:
    """Return the FID of n draws from N(0, std^2 I) against a Gaussian that is known exactly.

    That one has the mean `shift` [d] and a covariance with these eigenvalues [d]. By the delta method to second order:
    tr S / n from the mean and (s / 2n) sum_ij r_i r_j (1 + [i = j]) / (r_i + r_j) from the covariance, r the roots of
    the eigenvalues. The standard error is of first order.
    """
    roots, variance = np.sqrt(eigenvalues), std**2
    exact = float(shift @ shift + ((roots - std) ** 2).sum())

    # what n draws add, and how much it varies
    pairs = np.outer(roots, roots) / (roots[:, None] + roots[None, :])
    bias = (len(roots) * variance + std / 2 * (pairs.sum() + np.trace(pairs))) / n
    of_mean = 4 * float(shift @ shift) * variance
    of_covariance = 2 * variance**2 * float(((1 - roots / std) ** 2).sum())
    return KnownFID(exact + float(bias), float(np.sqrt((of_mean + of_covariance) / n)))
