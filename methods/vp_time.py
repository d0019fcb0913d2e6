"""A VP process with linear beta whose constants are fitted to a range, for the grids uniform-t and quadratic-t.

Song et al. 2021 (score SDE, arXiv:2011.13456), in EDM's coordinates (Karras et al. 2022,
arXiv:2206.00364, table 1): sigma(t) = sqrt(exp(bd t^2 / 2 + bmin t) - 1), with bd and bmin such
that sigma(1) = sigma_max and sigma(eps_s) = sigma_min. This t only places levels and changes with
the range. Methods decide what runs by another, fixed time:
`methods.networks.base.Network.diffusion_time`.
"""

from __future__ import annotations

import numpy as np

EPS_S = 1e-3
"""The grid's t of the lowest level."""


def fitted_beta(sigma_min: float, sigma_max: float) -> tuple[float, float]:
    """Return (bd, bmin), slope and start of beta(t), fitted to the two ends.

    Raises ValueError where none fits.
    """
    low, high = float(np.log1p(sigma_min**2)), float(np.log1p(sigma_max**2))
    if low >= EPS_S * (2 - EPS_S) * high:  # the parabola would turn before t = 1 and no longer be one-to-one
        raise ValueError(
            f"no VP process with linear beta is monotone from {sigma_max} at t = 1 to {sigma_min} at t = {EPS_S}; "
            "take a smaller sigma_min or another schedule"
        )
    bd = 2 * (low / EPS_S - high) / (EPS_S - 1)
    return bd, high - bd / 2


def fitted_sigma(t: np.ndarray, sigma_min: float, sigma_max: float) -> np.ndarray:
    """Return the levels at places t in [EPS_S, 1] of the fitted process.

    Both float64, any shape.
    """
    bd, bmin = fitted_beta(sigma_min, sigma_max)
    return np.sqrt(np.expm1(bd * t**2 / 2 + bmin * t))
