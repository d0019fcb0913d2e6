"""Ancestral sampling: a state is drawn from the posterior of its level, given the clean estimate.

Ho, Jain, Abbeel 2020, "Denoising Diffusion Probabilistic Models" (arXiv:2006.11239).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from torch import Tensor

from methods.parts import Denoise, Solver, StepNoise
from methods.parts import Params as BaseParams


class DDPM(Solver):
    """x' ~ N(q x + (1 - q) D(x; s), v) with q = s'^2 / s^2: equations 6 and 7, divided by alpha.

    The variance v is one of the two in section 3.2. "fixedsmall" is the posterior's for a known
    clean image, s'^2 (1 - q), a lower bound. "fixedlarge" is exact for data of unit variance, (1 +
    s'^2) (s^2 - s'^2) / (1 + s^2), an upper bound. No noise is added at the level 0, as in
    algorithm 2.
    """

    name = "ddpm"
    summary = "ancestral sampling on the grid (Ho et al. 2020)"
    order = 1
    stochastic = True

    class Params(BaseParams):
        variance: Literal["fixedsmall", "fixedlarge"] = "fixedsmall"

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        s, s_next = float(sigmas[i]), float(sigmas[i + 1])

        # mean of the posterior (equation 7)
        q = (s_next / s) ** 2
        mean = q * x + (1 - q) * denoise(x, s)
        if s_next == 0:
            return mean

        # noise of the step (section 3.2)
        v = s_next**2 * (1 - q) if self.params.variance == "fixedsmall" else (1 + s_next**2) * (1 - q) / (1 + s**-2)
        return mean + v**0.5 * noise(i)
