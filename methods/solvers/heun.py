"""Heun's method on the probability flow: EDM's deterministic sampler.

Karras, Aittala, Aila, Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative
Models" (arXiv:2206.00364), algorithm 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from methods.parts import Denoise, Solver, StepNoise


class Heun(Solver):
    """An Euler step in sigma, then a trapezoidal corrector.

    Two evaluations a step, the second at the next level. Only one where the next level is 0.
    """

    name = "heun"
    summary = "second-order Heun, two evaluations a step (Karras et al. 2022)"
    order = 2
    evaluations_per_step = 2

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        s, s_next = float(sigmas[i]), float(sigmas[i + 1])

        # Euler step (algorithm 1, lines 4 and 5)
        d = (x - denoise(x, s)) / s
        x_euler = x + (s_next - s) * d
        if s_next == 0:
            return x_euler

        # trapezoidal corrector (lines 7 and 8)
        d_next = (x_euler - denoise(x_euler, s_next)) / s_next
        return x + (s_next - s) * (d + d_next) / 2
