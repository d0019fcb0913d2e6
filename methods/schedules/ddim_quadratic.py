"""DDIM's quadratic grid: whole steps of the table, denser at low noise.

Song, Meng, Ermon 2021, "Denoising Diffusion Implicit Models" (arXiv:2010.02502), appendix D.2, as
in github.com/ermongroup/ddim (runners/diffusion.py), which CIFAR-10's figures used: tau_i =
floor(l_i^2), l even from 0 to sqrt(0.8 T). It begins at 0.8 T. With many points the lowest repeat;
a repeated step changes nothing, and is left out here.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from methods.grids import ramp
from methods.parts import Artifact
from methods.table_steps import TableSteps

_SHARE = 0.8
"""The highest level's share of the table."""


class DDIMQuadratic(TableSteps):
    """tau_i = floor((i / (S - 1))^2 0.8 T) for i = 0 ... S - 1; S are the levels, or `points`."""

    name = "ddim-quadratic"
    summary = "whole steps of DDPM's table, quadratic from 0 to 0.8 T (Song, Meng, Ermon 2021)"

    class Params(TableSteps.Params):
        points: int | None = Field(None, ge=2)
        """The levels S that are asked for, where the lowest repeat; by default those of the steps."""

    def levels(self, steps: int, sigma_min: float, sigma_max: float, artifact: Artifact | None = None) -> np.ndarray:
        ramp(steps, sigma_min, sigma_max)  # raises on a bad range
        points, total = self.params.points or steps + 1, self.params.betas.steps
        roots = np.linspace(0, np.sqrt(total * _SHARE), points)
        return self.levels_of([int(root) for root in roots**2], steps)
