"""The solver of a wrapped sampler: inside its own code, so nothing calls this one.

No paper: it stands for the user's code.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from methods.networks.base import NetworkParams
from methods.parts import Denoise, Method, Solver, StepNoise


class OwnSteps(Solver):
    """The steps of a wrapped sampler."""

    name = "own"
    summary = "a wrapped sampler's own steps"
    order = 1
    stochastic = True  # what it adds is not known, so images need not follow the flow

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        if parts["executor"].name in ("wrapped", "wrapped-pipeline"):
            return None
        return 'it is that of a wrapped sampler; expected the executor "wrapped", or a solver of `oneclock ls methods`'

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: object, noise: StepNoise) -> Tensor:
        raise NotImplementedError("a wrapped sampler steps by itself, under the executor that wraps it")
