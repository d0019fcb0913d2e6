"""MyEuler: Euler's step, with the clean estimate carried on the way that it moved since the step before.

An example that works: replace the marked line by an idea of yours. The interface is methods/parts.py of oneclock.

For a rule that reads no earlier step, drop `multistep` and `init_memory`, and leave `memory` alone. A rule that calls
`denoise` twice a step says `evaluations_per_step = 2`. `order` is that of your rule. In test_my_euler.py the tests
under "this example alone" go with the momentum; all others hold for every solver.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from methods.parts import Artifact, Denoise, Solver, StepNoise
from methods.parts import Params as BaseParams


class MyEuler(Solver):
    """x' = (s'/s) x + (1 - s'/s) (D + m (D - D_before)), s to s' the levels of a step; m = 0 is DDIM."""

    name = "my-euler"
    summary = "Euler's step with the estimate carried on (example)"
    order = 2  # of convergence, at m = 1/2; test_my_euler.py measures it
    multistep = True  # a step reads the estimate of the step before

    class Params(BaseParams):
        momentum: float = 0.5

    def init_memory(self, artifact: Artifact | None) -> list[Tensor]:
        """Return the memory of a new trajectory: the estimate of the step before, none yet."""
        return []

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        s, s_next = float(sigmas[i]), float(sigmas[i + 1])
        found = estimate = denoise(x, s)
        if memory:
            estimate = found + self.params.momentum * (found - memory[0])  # the line that DDIM does not have
        memory[:] = [found]

        ratio = s_next / s
        return ratio * x + (1 - ratio) * estimate
