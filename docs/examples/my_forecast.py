"""MyForecast: at every third step the network does not run; its output is forecast from the two before.

An example that works: replace the marked line by an idea of yours. The interface is methods/parts.py of oneclock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field
from torch import Tensor

from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, BuiltDenoiser, Denoiser, Method, Units
from methods.parts import Params as BaseParams


class MyForecast(Denoiser):
    """D at every third step, linear in log sigma through its last two values; every = 0 never skips."""

    name = "my-forecast"
    summary = "forecasts the network's output at every third step (example)"
    has_memory = True  # so executors that take up a trajectory in several places at once are refused

    class Params(BaseParams):
        every: int = Field(3, ge=0)

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        return None if network.fixed_cost else "the network's work depends on its input and would be counted wrong"

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return Forecasting(network, self.params.every)


class Forecasting(BuiltDenoiser):
    """A network that is left out at some steps."""

    by_step = True  # the step decides what runs
    has_memory = True

    def __init__(self, network: Network, every: int) -> None:
        self.network, self.every = network, every

    def init_memory(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Return the memory of a new trajectory: the last two (log sigma, D) that were computed, newest first."""
        return []

    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        (past,) = memory
        level = sigma.log().view(-1, 1, 1, 1)  # float64, on the host
        if self.every and step % self.every == self.every - 1 and len(past) == 2:
            (newest, found), (older, before) = past
            weight = ((level - newest) / (newest - older)).to(x)
            return found + weight * (found - before), {"network": 0}  # the line that saves an evaluation

        found = self.network(x, sigma)
        past[:] = [(level, found), *past[:1]]
        return found, {"network": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"network": self.network}
