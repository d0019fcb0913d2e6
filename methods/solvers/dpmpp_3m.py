"""DPM-Solver++(3M): the linear part exactly, the clean estimate extrapolated from three levels.

Lu et al. 2022, "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models"
(arXiv:2211.01095), and github.com/LuChengTHU/dpm-solver (multistep_dpm_solver_third_update).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from methods.parts import Artifact, Denoise, Solver, StepNoise
from methods.parts import Params as BaseParams
from methods.solvers.dpmpp_2m import FEW_STEPS


class DPMPP3M(Solver):
    """x' = (s'/s) x - p1 D_0 + p2 D' - p3 D'', with divided differences D', D'' of D in log s at three levels.

    p1 = e^-h - 1, p2 = p1 / h + 1, p3 = p2 / h - 1/2, h = log(s / s'). Steps are of first order at
    the start and at level 0, of second order next to them; with `lower_order_final` the last two
    are of second and first order where the grid has fewer than 15. The first step's error leaves
    order 2 in all.
    """

    name = "dpmpp-3m"
    summary = "DPM-Solver++(3M), third-order multistep (Lu et al. 2022)"
    order = 2
    multistep = True

    class Params(BaseParams):
        lower_order_final: bool = True

    def init_memory(self, artifact: Artifact | None) -> list[Tensor]:
        """Return the memory: D of the two previous steps, newest first."""
        return []

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        s, s_next = float(sigmas[i]), float(sigmas[i + 1])
        d0, before = denoise(x, s), list(memory)
        memory[:] = [d0, *before[:1]]
        order = min(len(before) + 1, self._highest_order(i, sigmas))

        # first order, which is exact for a constant D
        ratio = s_next / s
        first = ratio * x + (1 - ratio) * d0
        if order == 1:
            return first

        # divided differences in log s, in units of this step
        h = math.log(s / s_next)
        p1 = math.expm1(-h)
        r0 = math.log(float(sigmas[i - 1]) / s) / h
        slope = (d0 - before[0]) / r0
        if order == 2:
            return first - p1 / 2 * slope
        r1 = math.log(float(sigmas[i - 2]) / float(sigmas[i - 1])) / h
        change = slope - (before[0] - before[1]) / r1
        p2 = p1 / h + 1
        p3 = p2 / h - 0.5
        return first + p2 * (slope + r0 / (r0 + r1) * change) - p3 / (r0 + r1) * change

    def _highest_order(self, i: int, sigmas: np.ndarray) -> int:
        steps = len(sigmas) - 1
        if sigmas[i + 1] == 0:
            return 1
        return min(3, steps - i) if self.params.lower_order_final and steps < FEW_STEPS else 3
