"""DPM-Solver++(2M): the linear part exactly, the clean estimate extrapolated from two levels.

Lu et al. 2022, "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models"
(arXiv:2211.01095).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from methods.parts import Artifact, Denoise, Solver, StepNoise
from methods.parts import Params as BaseParams

FEW_STEPS = 15
"""Below this many steps diffusers ends with a first-order step."""


class DPMPP2M(Solver):
    """x' = (s'/s) x + (1 - e^-h) (D_0 + (D_0 - D_1) / 2r), h = log(s/s'), r = h_prev / h: algorithm 2.

    The first step is of first order. So is the last one where the grid ends at 0, since h is
    infinite there, and with `lower_order_final` where it has fewer than 15 steps. The order of
    convergence is 2 either way.
    """

    name = "dpmpp-2m"
    summary = "DPM-Solver++(2M), second-order multistep (Lu et al. 2022)"
    order = 2
    multistep = True

    class Params(BaseParams):
        lower_order_final: bool = True

    def init_memory(self, artifact: Artifact | None) -> list[Tensor]:
        """Return the memory: a list of D of the previous step, empty before the first."""
        return []

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        s, s_next = float(sigmas[i]), float(sigmas[i + 1])
        d0 = estimate = denoise(x, s)

        # extrapolate the clean estimate, where the order allows it
        steps = len(sigmas) - 1
        plain_end = i == steps - 1 and self.params.lower_order_final and steps < FEW_STEPS
        if memory and s_next > 0 and not plain_end:
            r = math.log(sigmas[i - 1] / s) / math.log(s / s_next)
            estimate = d0 + (d0 - memory[-1]) / (2 * r)
        memory[:] = [d0]

        # the linear part, exactly
        ratio = s_next / s
        return ratio * x + (1 - ratio) * estimate
