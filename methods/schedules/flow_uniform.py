"""Levels uniform in the time of a linear flow, in which SiT's and other flow networks are sampled.

Ma et al. 2024, "SiT" (arXiv:2401.08740); Lipman et al. 2023 (arXiv:2210.02747): x_t = t y + (1 - t)
n, so that sigma = (1 - t) / t.
"""

from __future__ import annotations

import numpy as np

from methods.grids import pinned, ramp
from methods.parts import Artifact, Schedule


class FlowUniform(Schedule):
    """sigma_i = (1 - t_i) / t_i with t linear in i between the times of the ends, 1 / (1 + sigma)."""

    name = "flow-uniform"
    summary = "uniform in the time of a linear flow (Ma et al. 2024)"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        u = ramp(steps, sigma_min, sigma_max)
        first, last = 1 / (1 + sigma_max), 1 / (1 + sigma_min)
        t = first + u * (last - first)
        return pinned((1 - t) / t, sigma_min, sigma_max)
