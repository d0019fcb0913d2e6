"""Noise level and time of the variance-preserving process whose beta is linear in time.

Song et al. 2021 (score SDE), in EDM's coordinates (Karras et al. 2022, table 1): the level of time t is
sigma(t) = sqrt(exp(bd t^2 / 2 + bmin t) - 1). The two constants are fitted so that sigma(1) = sigma_max and
sigma(eps_s) = sigma_min.
"""

from __future__ import annotations

import numpy as np

EPS_S = 1e-3
"""Time of the lowest level."""


def constants(sigma_min: float, sigma_max: float) -> tuple[float, float]:
    """Return (bd, bmin): slope and start of beta(t), fitted to the two ends."""
    low, high = float(np.log1p(sigma_min**2)), float(np.log1p(sigma_max**2))
    if low >= EPS_S * (2 - EPS_S) * high:  # the parabola would turn before t = 1 and no longer be one-to-one
        raise ValueError(
            f"no VP process with linear beta is monotone from {sigma_max} at t = 1 to {sigma_min} at t = {EPS_S}; "
            "take a smaller sigma_min or another schedule"
        )
    bd = 2 * (low / EPS_S - high) / (EPS_S - 1)
    return bd, high - bd / 2


def sigma_of_t(t: np.ndarray, sigma_min: float, sigma_max: float) -> np.ndarray:
    """Return the noise levels of the times t in [EPS_S, 1]; both float64, any shape."""
    bd, bmin = constants(sigma_min, sigma_max)
    return np.sqrt(np.expm1(bd * t**2 / 2 + bmin * t))


def t_of_sigma(sigma: np.ndarray, sigma_min: float, sigma_max: float) -> np.ndarray:
    """Return the times of the noise levels sigma in [sigma_min, sigma_max]; both float64, any shape."""
    bd, bmin = constants(sigma_min, sigma_max)
    integral = np.log1p(np.square(sigma))
    root = np.sqrt(np.maximum(bmin**2 + 2 * bd * integral, 0.0))
    # Of the two forms of the same root, the one that subtracts nothing.
    return (root - bmin) / bd if bmin < 0 else 2 * integral / (bmin + root)
