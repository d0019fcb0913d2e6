"""Levels uniform in arctan(sigma / c), Euler's best grid for Gaussian data of standard deviation c.

Our own derivation, without a paper.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from methods.grids import pinned, ramp
from methods.parts import Artifact, Schedule, ScheduleParams


class Arctan(Schedule):
    """sigma_i = c tan(theta_i), theta linear.

    On Gaussian data Euler's final state is the exact one times prod_i cos(theta_i - theta_{i+1}).
    Equal angles bring that product nearest to 1.
    """

    name = "arctan"
    summary = "uniform in arctan(sigma / c), optimal for Euler on Gaussian data of std c"

    class Params(ScheduleParams):
        c: float = Field(0.5, gt=0)

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)
        c = self.params.c
        first, last = np.arctan(sigma_max / c), np.arctan(sigma_min / c)
        return pinned(c * np.tan(first + u * (last - first)), sigma_min, sigma_max)
