"""The baseline executor: one step after another on one device.

No paper: the plain sampling loop.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from methods.parts import Boundary, Executor, Solver, StepNoise, Trace


class Serial(Executor):
    name = "serial"
    summary = "one step after another on one device (baseline)"

    def run(
        self, evaluate: Boundary, solver: Solver, sigmas: np.ndarray, x: Tensor, noise: StepNoise, trace: Trace
    ) -> Tensor:
        memory = solver.init_memory(solver.artifact)
        evaluate.init_memory(len(x))

        for i in range(len(sigmas) - 1):

            def denoise(state: Tensor, sigma: float, step: int = i) -> Tensor:
                return evaluate(state, sigma, step)

            x = solver.step(x, i, sigmas, denoise, memory, noise)
        return x
