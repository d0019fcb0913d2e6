"""Levels uniform in the logarithm of the signal-to-noise ratio.

Lu et al. 2022, "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around
10 Steps" (arXiv:2206.00927).
"""

from __future__ import annotations

import numpy as np

from methods.grids import pinned, ramp
from methods.parts import Artifact, Schedule


class LogSNR(Schedule):
    """log sigma_i linear in i, since log SNR = -2 log sigma."""

    name = "logsnr"
    summary = "uniform in log SNR (Lu et al. 2022)"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)
        first, last = np.log(sigma_max), np.log(sigma_min)
        return pinned(np.exp(first + u * (last - first)), sigma_min, sigma_max)
