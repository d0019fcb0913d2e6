"""Levels uniform in the time of a VP process with linear beta, the process fitted to the range.

Song et al. 2021, "Score-Based Generative Modeling through Stochastic Differential Equations"
(arXiv:2011.13456); the discrete grid is that of Ho, Jain, Abbeel 2020 (arXiv:2006.11239).
"""

from __future__ import annotations

import numpy as np

from methods.grids import pinned, ramp
from methods.parts import Artifact, Schedule
from methods.vp_time import EPS_S, fitted_sigma


class UniformT(Schedule):
    """t_i = 1 + (i / N) (eps_s - 1); time of the VP process fitted to the requested ends."""

    name = "uniform-t"
    summary = "uniform in the time of a VP process fitted to the range (Song et al. 2021)"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)
        return pinned(fitted_sigma(1 + u * (EPS_S - 1), sigma_min, sigma_max), sigma_min, sigma_max)
