"""DDIM, which is Euler's method on the probability flow.

Song, Meng, Ermon 2021, "Denoising Diffusion Implicit Models" (arXiv:2010.02502).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from methods.parts import Denoise, Solver, StepNoise


class DDIM(Solver):
    """x' = (s'/s) x + (1 - s'/s) D(x; s): equation 12 with eta = 0, divided by alpha."""

    name = "ddim"
    summary = "Euler on the probability flow (Song, Meng, Ermon 2021)"
    order = 1

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        s, s_next = float(sigmas[i]), float(sigmas[i + 1])
        ratio = s_next / s
        return ratio * x + (1 - ratio) * denoise(x, s)
