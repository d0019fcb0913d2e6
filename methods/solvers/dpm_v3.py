"""DPM-Solver-v3: a multistep solver around statistics of the network, measured once.

Zheng, Lu, Chen, Zhu 2023, "DPM-Solver-v3: Improved Diffusion ODE Solver with Empirical Model
Statistics" (NeurIPS, arXiv:2310.13268). With lam = -log sigma the flow is dx/dlam = D - x = -(l x
+ f), f = (1 - l) x - D, for any l(lam) per pixel. Along it g = e^-S f - int e^-S b has the derivative
e^-S (f' - s f - b), small where s and b fit f'. x' is exact for a g that is a polynomial through
past levels:

    x' = e^-L x - e^-L int e^L+S (g + B) dlam,  L = int l, S = int s, B = int e^-S b.

`dpm_v3_statistics` has the statistics and the integrals. The corrector is the authors': the next
evaluation, at the predicted state, corrects that state and keeps its f.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from methods.networks.base import NetworkParams
from methods.parts import Artifact, Denoise, Denoiser, Method, PrepareContext, Solver, StepNoise
from methods.parts import Params as BaseParams
from methods.solvers.dpm_v3_statistics import StatisticsOfLevels, StepIntegrals, measure_statistics


@dataclass
class _Memory:
    """State of DPM-Solver-v3 between two steps of a trajectory."""

    statistics: StatisticsOfLevels
    functions: list[Tensor] = field(default_factory=list)
    """g of past levels, newest first, with integrals from the newest's level."""
    x: Tensor | None = None
    """The corrected state of the previous step."""
    order: int = 0
    """The predictor's order in the previous step."""


class DPMSolverV3(Solver):
    """One evaluation a step. First steps have order 1, 2, ..., last ones ..., 2, 1 with `lower_order_final`.

    A step to level 0 ends at D. The statistics belong to a network and its range of levels; all
    steps and schedules share them. Without them (`init_memory(None)`) l = 1, s = b = 0. The
    authors' pseudo-order predictor, for five steps on CIFAR-10, is left out. The order of
    convergence is 2: of the pseudo corrector, of the last step and of the first.
    """

    name = "dpm-v3"
    summary = "multistep with statistics of the network, DPM-Solver-v3 (Zheng et al. 2023)"
    order = 2
    multistep = True
    prepares = True
    sampling_only = ("order", "corrector", "lower_order_final")
    check_params: ClassVar[Mapping[str, Any]] = {"states": 32, "cells": 30}

    class Params(BaseParams):
        order: int = Field(3, ge=1, le=3)
        """Levels that g is a polynomial through; the authors recommend 3 without guidance."""
        corrector: Literal["pseudo", "same", "none"] = "pseudo"
        """pseudo: with one level more than the predictor, by divided differences, the authors' usual; same: as many."""
        lower_order_final: bool = True
        states: int = Field(256, ge=2)
        """Trajectories that the statistics are means over; the authors take 1024 to 4096."""
        cells: int = Field(120, ge=3)
        """Parts of the range in log sigma between levels of the statistics; 120 or 1200 for the authors' CIFAR-10."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self._made: tuple[Artifact | None, StatisticsOfLevels] | None = None

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        denoiser = parts.get("denoiser")
        if isinstance(denoiser, Denoiser) and denoiser.guidance.guidance != 1:
            return "its statistics are those of the network without guidance; take guidance = 1 or another solver"
        if network.class_count and not network.has_null_class:
            return "it measures states without their classes, and this network has no embedding for no class"
        return None

    def prepare(self, context: PrepareContext) -> Artifact:
        """Return l, s and b by level, channel and pixel."""
        return measure_statistics(context, self.params.states, self.params.cells)

    def init_memory(self, artifact: Artifact | None) -> _Memory:
        """Return the memory of a new trajectory; integrals of steps are kept from one trajectory to the next."""
        if self._made is None or self._made[0] is not artifact:
            self._made = artifact, StatisticsOfLevels(artifact)
        return _Memory(self._made[1])

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        s, s_next, statistics = float(sigmas[i]), float(sigmas[i + 1]), memory.statistics
        output = denoise(x, s)
        f = x - output - statistics.linear_at(s, x) * x

        # correct the state before, and count g from this level on
        if memory.x is not None:
            passed = statistics.interval(float(sigmas[i - 1]), s, x)
            x = self._corrected(x, f, i, sigmas, passed, memory)
            memory.functions = [passed.growth * (g + passed.drift) for g in memory.functions]
        memory.functions = [f, *memory.functions][: self.params.order]

        # predict the next state
        order = len(memory.functions)
        if self.params.lower_order_final:
            order = min(order, len(sigmas) - 1 - i)
        memory.x, memory.order = x, order
        if s_next == 0:
            return output
        levels = [float(sigmas[i - k]) for k in range(order)]
        return _advance(x, statistics.interval(s, s_next, x), memory.functions[:order], levels, is_pseudo=False)

    def _corrected(
        self, x: Tensor, f: Tensor, i: int, sigmas: np.ndarray, passed: StepIntegrals, memory: _Memory
    ) -> Tensor:
        """Return the state at sigmas[i] again, now with f there; x where no corrector has the order."""
        is_pseudo = self.params.corrector == "pseudo"
        order = memory.order + is_pseudo
        if self.params.corrector == "none" or order < 2:
            return x
        reached = f / passed.growth - passed.drift
        newest, *past = memory.functions
        functions = [newest, reached, *past][:order]
        levels = [float(sigmas[k]) for k in (i - 1, i, *range(i - 2, i - order, -1))]
        assert memory.x is not None
        return _advance(memory.x, passed, functions, levels, is_pseudo)


def _advance(
    x: Tensor, interval: StepIntegrals, functions: Sequence[Tensor], levels: Sequence[float], is_pseudo: bool
) -> Tensor:
    """Return the state at the end of an interval, from x at its begin and g at levels, of which the first is there."""
    result = interval.keep * x - interval.shift - interval.weights[0] * functions[0]
    offsets = np.log(levels[0] / np.array(levels))
    for weight, row in zip(interval.weights[1:], power_weights(offsets, is_pseudo), strict=False):
        for factor, g in zip(row.tolist(), functions, strict=True):
            result = result - factor * weight * g
    return result


def power_weights(offsets: np.ndarray, is_pseudo: bool) -> np.ndarray:
    """Return which sums of g at offsets [n + 1] from the first, 0, are its coefficients of powers 1 ... n: [n, n + 1].

    They are those of the polynomial through all. With `is_pseudo` they are divided differences of
    the first two, three, ... values, as if every power began at the first.
    """
    n = len(offsets) - 1
    if not is_pseudo:
        found = np.linalg.inv(np.vander(offsets, n + 1, increasing=True)) if n else np.eye(1)
        return found[1:]
    table, rows = np.eye(n + 1), []
    for k in range(1, n + 1):
        gaps = offsets[: n + 1 - k] - offsets[k:]
        table = (table[:-1] - table[1:]) / gaps[:, None]
        rows.append(table[0])
    return np.array(rows)
