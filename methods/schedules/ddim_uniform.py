"""DDIM's uniform grid: every so many steps of the table on which a network was trained.

Song, Meng, Ermon 2021, "Denoising Diffusion Implicit Models" (arXiv:2010.02502), appendix D.2, and
github.com/ermongroup/ddim (runners/diffusion.py): tau = 0, c, 2c, ... with c = T / S. Where S does
not divide T, c is rounded down and S levels are taken, as in diffusers ("leading"). A run of S
evaluations has S - 1 steps here and `final = "denoise"`.
"""

from __future__ import annotations

import numpy as np

from methods.grids import ramp
from methods.parts import Artifact
from methods.table_steps import TableSteps


class DDIMUniform(TableSteps):
    """tau_i = c i for i = 0 ... S - 1, where c = floor(T / S); S are the levels."""

    name = "ddim-uniform"
    summary = "whole steps of DDPM's table, evenly apart (Song, Meng, Ermon 2021)"

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        ramp(steps, sigma_min, sigma_max)  # raises on a bad range
        points, total = steps + 1, self.params.betas.steps
        return self.levels_of([i * (total // points) for i in range(points)], steps)
