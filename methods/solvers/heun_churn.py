"""EDM's stochastic sampler: before each Heun step the state is noised up a little.

Karras, Aittala, Aila, Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative
Models" (arXiv:2206.00364), algorithm 2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor

from methods.parts import Denoise, Solver, StepNoise
from methods.parts import Params as BaseParams
from methods.solvers.heun import Heun

_MOST = math.sqrt(2) - 1
"""Of gamma: no step adds more noise than there is."""


class HeunChurn(Solver):
    """x^ = x + sqrt(s^^2 - s^2) S_noise n with s^ = (1 + gamma) s, then Heun's step from s^ to s'.

    gamma = min(S_churn / N, sqrt(2) - 1) for s in [S_min, S_max], else 0. The published values
    for ImageNet at 64x64 are 40, 0.05, 50 and 1.003.
    """

    name = "heun-churn"
    summary = "EDM's stochastic sampler: Heun with churn (Karras et al. 2022)"
    order = 2
    stochastic = True
    evaluations_per_step = 2

    class Params(BaseParams):
        s_churn: float = Field(40.0, ge=0)
        s_min: float = Field(0.05, ge=0)
        s_max: float = Field(50.0, gt=0)
        s_noise: float = Field(1.003, gt=0)

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        p, s = self.params, float(sigmas[i])

        # noise up (lines 4 to 6)
        gamma = min(p.s_churn / (len(sigmas) - 1), _MOST) if p.s_min <= s <= p.s_max else 0.0
        if gamma > 0:
            x = x + math.sqrt((1 + gamma) ** 2 - 1) * s * p.s_noise * noise(i)

        # Heun's step from there (lines 7 to 11)
        levels = np.array([(1 + gamma) * s, sigmas[i + 1]])
        return _HEUN.step(x, 0, levels, denoise, None, noise)


_HEUN = Heun()
