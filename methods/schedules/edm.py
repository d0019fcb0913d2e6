"""EDM's levels: uniform in a root of the noise level.

Karras, Aittala, Aila, Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative
Models" (arXiv:2206.00364).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from methods.grids import pinned, ramp
from methods.parts import Artifact, Schedule, ScheduleParams


class EDM(Schedule):
    """sigma_i^(1/rho) linear in i (equation 5), without the appended zero."""

    name = "edm"
    summary = "uniform in sigma^(1/rho) (Karras et al. 2022)"

    class Params(ScheduleParams):
        rho: float = Field(7.0, gt=0)

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)
        rho = self.params.rho
        first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
        return pinned((first + u * (last - first)) ** rho, sigma_min, sigma_max)
