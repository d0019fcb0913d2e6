"""Levels of the cosine schedule: uniform in the angle whose tangent is the noise level.

Nichol, Dhariwal 2021, "Improved Denoising Diffusion Probabilistic Models" (arXiv:2102.09672).
"""

from __future__ import annotations

import numpy as np

from methods.grids import pinned, ramp
from methods.parts import Artifact, Schedule


class Cosine(Schedule):
    """sigma_i = tan(angle_i), angle linear; alpha_t = cos(angle), equation 17 without its offset."""

    name = "cosine"
    summary = "uniform in the angle of the cosine schedule (Nichol, Dhariwal 2021)"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)
        first, last = np.arctan(sigma_max), np.arctan(sigma_min)
        return pinned(np.tan(first + u * (last - first)), sigma_min, sigma_max)
