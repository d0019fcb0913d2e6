"""UniPC: a multistep predictor, and a corrector without an evaluation of its own.

Zhao et al. 2023, "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion
Models" (arXiv:2302.04867), with data prediction. The next step's evaluation serves the corrector
too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor

from methods.parts import Artifact, Denoise, Solver, StepNoise
from methods.parts import Params as BaseParams


@dataclass
class _Memory:
    """State of UniPC between two steps of a trajectory."""

    outputs: list[Tensor] = field(default_factory=list)
    """D of earlier steps, newest first."""
    x: Tensor | None = None
    """The corrected state of the previous step."""
    order: int = 0
    """The predictor's order in the previous step, which the corrector uses too."""


class UniPC(Solver):
    """UniP-p and UniC-p on the clean estimate, with lambda = -log sigma.

    One evaluation a step, at the predicted state. The next prediction starts from the corrected
    state, so the state after a step is the predicted one, and the last state is never corrected.
    `order` is p, by default 2 as in diffusers: 3 oscillates below some 15 steps of the rho = 7
    grid. The first steps have p = 1, 2, ... With `lower_order_final` the last ones have ..., 2, 1,
    at any number of steps, as in the authors' code and diffusers. `variant` is B(h): h for "bh1",
    e^h - 1 for "bh2". A step to the level 0 is of first order. Where only one difference is known
    the weight is 1/2, as in the authors' code.

    The order of convergence is 3 without `lower_order_final`: for p = 3 the first step of order 1
    decides. With it the order is 2, because of the one first-order step at the end, whose share is
    small.
    """

    name = "unipc"
    summary = "unified predictor-corrector, multistep (Zhao et al. 2023)"
    order = 2
    multistep = True

    class Params(BaseParams):
        order: Literal[2, 3] = 2
        variant: Literal["bh1", "bh2"] = "bh2"
        lower_order_final: bool = True

    def init_memory(self, artifact: Artifact | None) -> _Memory:
        """Return the memory of a new trajectory, without earlier outputs."""
        return _Memory()

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        # correct the state before, with the output at the predicted one (UniC)
        output = denoise(x, float(sigmas[i]))
        if memory.x is not None:
            x = self._update(memory.x, i - 1, sigmas, memory.outputs, memory.order, output)

        # predict the next state (UniP)
        order = min(self.params.order, len(memory.outputs) + 1)
        if self.params.lower_order_final:
            order = min(order, len(sigmas) - 1 - i)
        memory.outputs = [output, *memory.outputs[: self.params.order - 1]]
        memory.x, memory.order = x, order
        if sigmas[i + 1] == 0:
            return output
        return self._update(x, i, sigmas, memory.outputs, order, None)

    def _update(
        self, x: Tensor, i: int, sigmas: np.ndarray, outputs: list[Tensor], order: int, reached: Tensor | None
    ) -> Tensor:
        """Return the state at sigmas[i + 1] from x at sigmas[i] and the outputs there and before, newest first.

        `reached` is the output at sigmas[i + 1] for the corrector, None for the predictor.
        """
        # differences of outputs, divided by r
        h = math.log(sigmas[i] / sigmas[i + 1])
        newest = outputs[0]
        r = [math.log(sigmas[i] / sigmas[i - k]) / h for k in range(1, order)]  # negative: the past
        differences = [(outputs[k] - newest) / r[k - 1] for k in range(1, order)]
        if reached is not None:
            r.append(1.0)
            differences.append(reached - newest)

        # exact linear part, then the weighted differences times B(h)
        scale = -h if self.params.variant == "bh1" else math.expm1(-h)
        change = math.expm1(-h) * newest
        for weight, difference in zip(self._weights(r, h, scale), differences, strict=True):
            change = change + scale * weight * difference
        return float(sigmas[i + 1] / sigmas[i]) * x - change

    def _weights(self, r: list[float], h: float, scale: float) -> list[float]:
        """Return the weights of the differences at r: the solution a of R a = b in the paper's notation."""
        n = len(r)
        if n < 2:
            return [0.5] * n
        b = [math.factorial(k) * -h * _phi(k + 1, -h) / scale for k in range(1, n + 1)]
        return np.linalg.solve(np.vander(r, n, increasing=True).T, np.array(b)).tolist()


def _phi(k: int, z: float) -> float:
    """Return sum_n z^n / (n + k)!, by the sum near 0, where the recursion cancels, else by the recursion."""
    if abs(z) < 1:
        return sum(z**n / math.factorial(n + k) for n in range(20))
    value = math.exp(z)
    for j in range(k):
        value = (value - 1 / math.factorial(j)) / z
    return value
