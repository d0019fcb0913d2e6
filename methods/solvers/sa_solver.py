"""SA-Solver: a predictor-corrector of Adams type for an SDE whose noise is a choice, data prediction.

Xue et al. 2023, "SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models"
(NeurIPS, arXiv:2309.05019). With l = -log s, h = l' - l and a = 1 + tau^2 the exact solution of the
variance-controlled SDE is

    x' = e^(-tau^2 h) (s'/s) x + a int_0^h e^(-a v) D(l' - v) dv + s' sqrt(1 - e^(-2 tau^2 h)) n.

D becomes the Lagrange polynomial through earlier levels (predictor), or through the step's end and
earlier ones (corrector), which takes the step's noise n again. Orders count the levels of the
polynomial, as in the authors' code and in diffusers' SASolverScheduler, whose weights these are:
at two levels the slope's integral is a h^2 / 2, the authors' change for few steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from methods.parts import Artifact, Denoise, Solver, StepNoise
from methods.parts import Params as BaseParams

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


@dataclass
class _Memory:
    """State of SA-Solver between two steps of a trajectory."""

    outputs: list[Tensor] = field(default_factory=list)
    """D of earlier steps, newest first."""
    x: Tensor | None = None
    """The corrected state of the previous step."""
    noise: Tensor | None = None
    """Unit noise of the previous step; None where it drew none."""
    corrector: int = 0
    """Levels of the corrector of the previous step."""


class SASolver(Solver):
    """One evaluation a step, at the predicted state; its output corrects that state (mode PEC).

    The next prediction starts from the corrected state; the last state is never corrected. First
    steps read the levels that are there. A step to level 0 is of first order and ends at D. At tau
    = 0 it follows the flow, of order 2 with `lower_order_final`, else min(corrector, predictor + 1)
    but for the first steps' share; any noise makes it 1.
    """

    name = "sa-solver"
    summary = "stochastic Adams predictor-corrector (Xue et al. 2023)"
    order = 1
    multistep = True

    class Params(BaseParams):
        predictor_order: int = Field(3, ge=1, le=4)
        """Levels that the predictor reads; the authors recommend 3 and 4 without strong guidance, else 2 and 2."""
        corrector_order: int = Field(4, ge=1, le=4)
        """Levels that the corrector reads, with that of the step's end."""
        tau: float = Field(1.0, ge=0)
        """Noise from s_min to s_max: 0 is the flow, 1 the reversed SDE."""
        s_min: float = Field(0.72, ge=0)
        """The authors' time 0.2 in DDPM's process."""
        s_max: float = Field(25.0, gt=0)
        """The authors' time 0.8 there."""
        lower_order_final: bool = True

        @model_validator(mode="after")
        def _has_levels_between(self) -> SASolver.Params:
            if self.s_min >= self.s_max:
                raise ValueError(f"s_min is {self.s_min:g} and s_max {self.s_max:g}; expected s_min below s_max")
            return self

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Return whether it draws noise."""
        return bool(self.params.tau > 0)

    def init_memory(self, artifact: Artifact | None) -> _Memory:
        """Return the memory of a new trajectory, without earlier outputs."""
        return _Memory()

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        # correct the state before, with the output at the predicted one and the same noise
        p, output = self.params, denoise(x, float(sigmas[i]))
        if memory.x is not None:
            outputs = [output, *memory.outputs][: memory.corrector]
            x = self._update(memory.x, i - 1, sigmas, i, outputs, memory.noise)

        # orders of this step
        known, left = len(memory.outputs), len(sigmas) - 1 - i
        predictor, memory.corrector = min(p.predictor_order, known + 1), min(p.corrector_order, known + 2)
        if p.lower_order_final:
            predictor, memory.corrector = min(predictor, left), min(memory.corrector, left + 1)
        memory.outputs = [output, *memory.outputs][: max(p.predictor_order, p.corrector_order - 1)]

        # predict the next state
        if sigmas[i + 1] == 0:
            return output
        memory.x, memory.noise = x, noise(i) if self._tau(float(sigmas[i])) > 0 else None
        return self._update(x, i, sigmas, i, memory.outputs[:predictor], memory.noise)

    def _update(
        self, x: Tensor, i: int, sigmas: np.ndarray, newest: int, outputs: list[Tensor], noise: Tensor | None
    ) -> Tensor:
        """Return the state at sigmas[i + 1] from x at sigmas[i] and outputs at sigmas[newest] and before."""
        s, s_next = float(sigmas[i]), float(sigmas[i + 1])
        tau = self._tau(s)
        levels = tuple(-math.log(float(sigmas[newest - k])) for k in range(len(outputs)))
        weights = adams_weights(levels, -math.log(s), -math.log(s_next), tau)

        h = math.log(s / s_next)
        total = math.exp(-(tau**2) * h) * s_next / s * x
        for weight, output in zip(weights, outputs, strict=True):
            total = total + weight * output
        if noise is None:
            return total
        return total + s_next * math.sqrt(-math.expm1(-2 * tau**2 * h)) * noise

    def _tau(self, s: float) -> float:
        """Return tau of a step that begins at a level."""
        return float(self.params.tau) if self.params.s_min <= s <= self.params.s_max else 0.0


@lru_cache(maxsize=4096)
def adams_weights(levels: Sequence[float], begin: float, end: float, tau: float) -> tuple[float, ...]:
    """Return a int_0^h e^(-a v) l_j(end - v) dv for the Lagrange polynomials l_j of levels of -log s, h = end - begin.

    By 48 points of Gauss and Legendre, float64. At two levels the slope has a h^2 / 2 in place of
    its integral.
    """
    h, a = end - begin, 1 + tau**2
    if len(levels) == 2:
        total, slope = -math.expm1(-a * h), a * h**2 / 2 / (levels[0] - levels[1])
        return _through_two(levels, begin, total, slope)
    v = h * (_NODES + 1) / 2
    places, found = np.array(levels), []
    for j in range(len(levels)):
        others = np.delete(places, j)
        values = np.prod((end - v[:, None] - others) / (places[j] - others), axis=1)
        found.append(float(a * h / 2 * (_WEIGHTS * np.exp(-a * v) * values).sum()))
    return tuple(found)


def _through_two(levels: Sequence[float], begin: float, total: float, slope: float) -> tuple[float, float]:
    """Return the weights of two levels, of which one is where the step begins: there the polynomial is anchored."""
    return (total + slope, -slope) if levels[0] == begin else (slope, total - slope)
