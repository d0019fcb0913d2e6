"""MyLearned: the momentum of each step is fitted to finer solutions, once, before the first image.

A solver that learns. `prepare` runs on a worker and returns an artifact; every worker then has it as `self.artifact`.
Its seconds and FLOPs stand in the row's columns of preparation.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, Denoise, Method, PrepareContext, Solver, StepNoise
from methods.parts import Params as BaseParams


class MyLearned(Solver):
    """x' = r x + (1 - r) (D + m_i (D - D_before)), r = s'/s; m_i by least squares, 1/2 without an artifact."""

    name = "my-learned"
    summary = "Euler's step with a fitted momentum for each step (example)"
    order = 2
    multistep = True
    prepares = True
    prepares_for = ("steps", "schedule")  # trials that are equal in these share one artifact

    class Params(BaseParams):
        noises: int = Field(32, ge=1)
        """Trajectories that it is fitted to."""
        sub_steps: int = Field(4, ge=1)
        """Steps of Heun's method in place of one of its own."""

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        return "it is fitted to states without a class" if network.class_count else None

    @torch.no_grad()
    def prepare(self, context: PrepareContext) -> Artifact:
        levels, network = context.levels(), context.network
        like = next(chain(network.parameters(), network.buffers()))
        start = torch.stack([context.noise(index) for index in range(self.params.noises)])
        x = finer = start.to(like) * float(levels[0])
        fitted, before = [], None

        for i in context.passes(len(levels) - 1):  # FLOPs are counted on some passes
            s, s_next = float(levels[i]), float(levels[i + 1])
            finer = self._finer(network, finer, s, s_next)
            found, ratio = estimate(network, x, s), s_next / s
            x = ratio * x + (1 - ratio) * found
            if before is None:
                fitted.append(0.0)
            else:  # the m that brings the own state nearest to the finer one
                change = (1 - ratio) * (found - before)
                fitted.append(float(((finer - x) * change).sum() / (change * change).sum()))
                x = x + fitted[-1] * change
            before = found
        return Artifact(tensors={"momentum": torch.tensor(fitted)})

    def _finer(self, network: Network, x: Tensor, s: float, s_next: float) -> Tensor:
        """Return the state at s_next by sub-steps of Heun's method, uniform in log sigma."""
        grid = np.geomspace(s, s_next, self.params.sub_steps + 1).tolist()
        for a, b in pairwise(grid):
            slope = (x - estimate(network, x, a)) / a
            ahead = x + (b - a) * slope
            x = x + (b - a) * (slope + (ahead - estimate(network, ahead, b)) / b) / 2
        return x

    def init_memory(self, artifact: Artifact | None) -> dict[str, Any]:
        """Return the memory of a new trajectory: the fitted momenta, and the estimate of the step before."""
        return {"momentum": artifact.tensors["momentum"].tolist() if artifact else None, "before": None}

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        s, s_next = float(sigmas[i]), float(sigmas[i + 1])
        found = moved = denoise(x, s)
        if memory["before"] is not None:
            momentum = memory["momentum"][i] if memory["momentum"] else 0.5
            moved = found + momentum * (found - memory["before"])
        memory["before"] = found

        ratio = s_next / s
        return ratio * x + (1 - ratio) * moved


def estimate(network: Network, x: Tensor, sigma: float) -> Tensor:
    """Return D(x; sigma); levels are float64 on the host."""
    return network(x, torch.full((len(x),), sigma, dtype=torch.float64))
