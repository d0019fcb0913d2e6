"""iPNDM: Adams-Bashforth weights on the noise estimates, without PNDM's costly first steps."""

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
"""Adams-Bashforth weights of the newest output first, by how many outputs there are."""


class IPNDM(Solver):
    """x' = x + (s' - s) sum_k w_k d_k, d_k = (x - D) / s at the newest levels: Zhang, Chen 2023 (DEIS).

    `order` is how many outputs a step reads once the warm-up with 1, 2, ... is over. The weights are those of equal
    steps, so a step integrates polynomials of that many terms exactly on equal steps only. The order of convergence
    is 2 for all of them: on a smooth uneven grid the weights leave a local error of third order, and the Euler step
    at the start one of second order, once.
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
        memory.insert(0, (x - denoise(x, s)) / s)
        del memory[self.params.order :]
        slope = sum(w * d for w, d in zip(WEIGHTS[len(memory) - 1], memory, strict=True))
        return x + (s_next - s) * slope
