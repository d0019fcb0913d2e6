"""iPNDM: Adams-Bashforth weights on the noise estimates, without PNDM's costly first steps.

Zhang, Chen 2023, "Fast Sampling of Diffusion Models with Exponential Integrator" (DEIS,
arXiv:2204.13902), after Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on
Manifolds" (PNDM, arXiv:2202.09778).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field
from torch import Tensor

from methods.parts import Artifact, Denoise, Solver, StepNoise
from methods.parts import Params as BaseParams

WEIGHTS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Adams-Bashforth weights by the number of outputs, that of the newest output first."""


class IPNDM(Solver):
    """x' = x + (s' - s) sum_k w_k d_k, d_k = (x - D) / s at the newest levels.

    `order` is how many outputs a step reads after the warm-up with 1, 2, ... of them. The weights
    are those of equal steps: only there does a step integrate polynomials of that many terms
    exactly. The order of convergence is 2 for all of them. On a smooth uneven grid the weights
    leave a local error of third order. The Euler step at the start leaves one of second order,
    once.
    """

    name = "ipndm"
    summary = "Adams-Bashforth multistep with fixed weights (Zhang, Chen 2023)"
    order = 2
    multistep = True

    class Params(BaseParams):
        order: int = Field(4, ge=2, le=4)

    def init_memory(self, artifact: Artifact | None) -> list[Tensor]:
        """Return the memory: the noise estimates d of earlier steps, newest first."""
        return []

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        s, s_next = float(sigmas[i]), float(sigmas[i + 1])

        # noise estimates, newest first
        memory.insert(0, (x - denoise(x, s)) / s)
        del memory[self.params.order :]

        slope = sum(w * d for w, d in zip(WEIGHTS[len(memory) - 1], memory, strict=True))
        return x + (s_next - s) * slope
