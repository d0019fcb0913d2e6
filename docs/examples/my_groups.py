"""MyGroups: one step after another, for a few images of the batch at a time.

An example that works: replace the marked line by an idea of yours. The interface is methods/parts.py of oneclock.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from methods.parts import Boundary, Executor, Solver, StepNoise, Trace
from methods.parts import Params as BaseParams


class MyGroups(Executor):
    """Runs the serial loop on groups of a batch, each from its noise to its images."""

    name = "my-groups"
    summary = "the serial loop on a few images at a time (example)"
    method_family = "my-groups"  # the group of its rows in reports; of executors usually "parallel in time"

    class Params(BaseParams):
        group: int = Field(25, ge=1)

    def run(
        self, evaluate: Boundary, solver: Solver, sigmas: np.ndarray, x: Tensor, noise: StepNoise, trace: Trace
    ) -> Tensor:
        done = []
        for first in range(0, len(x), self.params.group):
            rows = slice(first, first + self.params.group)  # the line that makes it another executor than serial
            done.append(self._run_group(evaluate, solver, sigmas, x[rows], lambda step, rows=rows: noise(step)[rows]))
        return torch.cat(done)

    def _run_group(self, evaluate: Boundary, solver: Solver, sigmas: np.ndarray, x: Tensor, noise: StepNoise) -> Tensor:
        memory = solver.init_memory(solver.artifact)
        evaluate.init_memory(len(x))
        for i in range(len(sigmas) - 1):
            x = solver.step(x, i, sigmas, lambda state, sigma, step=i: evaluate(state, sigma, step), memory, noise)
        return x
