"""Levels uniform in sigma: the worst sensible grid, a lower anchor of comparisons.

No paper: the plainest grid there is.
"""

from __future__ import annotations

import numpy as np

from methods.grids import pinned, ramp
from methods.parts import Artifact, Schedule


class UniformSigma(Schedule):
    """sigma_i linear in i."""

    name = "uniform-sigma"
    summary = "uniform in sigma (lower anchor)"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)
        return pinned(sigma_max + u * (sigma_min - sigma_max), sigma_min, sigma_max)
