"""Three solvers on levels that are a tensor, so that gradients flow to the levels; for LD3.

Each equals its method in methods/solvers with default parameters, where levels are numbers. The
formulas and their sources stand there.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from methods.networks.base import Network
from methods.schedules.search.teacher import weight_of
from methods.solvers.dpmpp_2m import FEW_STEPS
from methods.solvers.ipndm import WEIGHTS

Unrollable = Literal["ddim", "dpmpp-2m", "ipndm"]


def unrolled(solver: Unrollable, network: Network, x: Tensor, levels: Tensor) -> Tensor:
    """Return the state [K, ...] at levels[-1] from x at levels[0], levels float64 [steps + 1] on the device of x.

    Differentiable in x and in the levels, also where they are the network's input.
    """
    steps, dtype = len(levels) - 1, weight_of(network).dtype
    past: list[Tensor] = []  # newest first: slopes of iPNDM, clean estimates of the others
    for i in range(steps):
        s, s_next = levels[i], levels[i + 1]
        clean = network(x.to(dtype), s.expand(len(x))).to(x.dtype)

        # iPNDM
        if solver == "ipndm":
            past = [(x - clean) / s, *past][: len(WEIGHTS)]
            slope = sum(w * d for w, d in zip(WEIGHTS[len(past) - 1], past, strict=True))
            x = x + (s_next - s) * slope
            continue

        # DDIM, or DPM-Solver++(2M) with its extrapolated estimate
        estimate = clean
        if solver == "dpmpp-2m" and past and (i < steps - 1 or steps >= FEW_STEPS):
            r = (levels[i - 1] / s).log() / (s / s_next).log()
            estimate = clean + (clean - past[0]) / (2 * r)
        past = [clean]
        x = s_next / s * x + (1 - s_next / s) * estimate
    return x
