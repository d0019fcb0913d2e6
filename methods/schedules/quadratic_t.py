"""Levels uniform in the square root of the time of a variance-preserving process that is fitted to the range."""

from __future__ import annotations

import numpy as np

from methods.grids import pinned, ramp
from methods.parts import Artifact, Schedule
from methods.vp_time import EPS_S, fitted_sigma


class QuadraticT(Schedule):
    """sqrt(t_i) = 1 + (i / N) (sqrt(eps_s) - 1), the quadratic grid of Song, Meng, Ermon 2021 (DDIM)."""

    name = "quadratic-t"
    summary = "quadratic in the time of a VP process fitted to the range (Song, Meng, Ermon 2021)"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)
        t = (1 + u * (EPS_S**0.5 - 1)) ** 2
        return pinned(fitted_sigma(t, sigma_min, sigma_max), sigma_min, sigma_max)
