"""The baseline denoiser: the whole network at every step, for every image.

No paper: the plain call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from methods.denoisers.compiled import compiled
from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, BuiltDenoiser, Denoiser, DenoiserParams, Method, Units


class Full(Denoiser):
    name = "full"
    summary = "the whole network at every step (baseline)"

    class Params(DenoiserParams):
        compiled: bool = False
        """Compiles the network; on a GPU it is captured as a CUDA graph."""

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        if not network.fixed_cost:
            return "the network's work depends on its input and would be counted wrong; take a denoiser that counts it"
        return None

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return network.fixed_cost and not self.prepares

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return _WholeNetwork(network, self.params.compiled)


class _WholeNetwork(BuiltDenoiser):
    def __init__(self, network: Network, compile_it: bool) -> None:
        self.network = network
        self.call = compiled(network, network, compile_it)

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        return self.call(x, sigma), {"network": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"network": self.network}
