"""Checks and exact end points that all schedules share; plug-ins may use them too."""

from __future__ import annotations

import math

import numpy as np


def ramp(steps: int, sigma_min: float, sigma_max: float) -> np.ndarray:
    """Return i / steps for i = 0..steps, float64 [steps + 1].

    Raises ValueError for less than one step and for a range that does not increase from above 0.
    """
    if steps < 1:
        raise ValueError(f"a grid needs at least 1 step, but steps is {steps}")
    if not (0 < sigma_min < sigma_max and math.isfinite(sigma_max)):
        raise ValueError(f"sigma_min must lie in (0, sigma_max), but it is {sigma_min} and sigma_max is {sigma_max}")
    return np.arange(steps + 1, dtype=np.float64) / steps


def pinned(levels: np.ndarray, sigma_min: float, sigma_max: float) -> np.ndarray:
    """Return levels float64 [steps + 1] with exactly the requested end points.

    Raises ValueError where levels do not strictly decrease in float64.
    """
    exact = np.array(levels, dtype=np.float64)
    exact[0], exact[-1] = sigma_max, sigma_min
    if not np.all(np.diff(exact) < 0):
        raise ValueError(f"{len(exact) - 1} steps from {sigma_max} to {sigma_min} cannot be told apart in float64")
    return exact
