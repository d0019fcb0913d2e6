"""What every schedule shares: the check of what was asked for, and exact end points."""

from __future__ import annotations

import math

import numpy as np


def ramp(steps: int, sigma_min: float, sigma_max: float) -> np.ndarray:
    """Return i / steps for i = 0..steps, float64 [steps + 1], once the request makes sense."""
    if steps < 1:
        raise ValueError(f"a grid needs at least 1 step, but steps is {steps}")
    if not (0 < sigma_min < sigma_max and math.isfinite(sigma_max)):
        raise ValueError(f"sigma_min must lie in (0, sigma_max), but it is {sigma_min} and sigma_max is {sigma_max}")
    return np.arange(steps + 1, dtype=np.float64) / steps


def pinned(levels: np.ndarray, sigma_min: float, sigma_max: float) -> np.ndarray:
    """Return levels [steps + 1] with the requested end points to the bit, once they decrease strictly."""
    exact = np.array(levels, dtype=np.float64)
    exact[0], exact[-1] = sigma_max, sigma_min
    if not np.all(np.diff(exact) < 0):
        raise ValueError(f"{len(exact) - 1} steps from {sigma_max} to {sigma_min} cannot be told apart in float64")
    return exact
