"""Levels uniform in the square root of a VP process's time, the process fitted to the range.

Song, Meng, Ermon 2021, "Denoising Diffusion Implicit Models" (arXiv:2010.02502): their quadratic
grid.
"""

from __future__ import annotations

import numpy as np

from methods.grids import pinned, ramp
from methods.parts import Artifact, Schedule
from methods.vp_time import EPS_S, fitted_sigma


class QuadraticT(Schedule):
    """sqrt(t_i) = 1 + (i / N) (sqrt(eps_s) - 1).

    Time of the fitted VP process (methods/vp_time).
    """

    name = "quadratic-t"
    summary = "quadratic in the time of a VP process fitted to the range (Song, Meng, Ermon 2021)"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)
        t = (1 + u * (EPS_S**0.5 - 1)) ** 2
        return pinned(fitted_sigma(t, sigma_min, sigma_max), sigma_min, sigma_max)
