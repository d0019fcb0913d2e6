"""The baseline denoiser: the whole network at every step, for every image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from methods.networks.base import Network
from methods.parts import Artifact, BuiltDenoiser, Denoiser, Units


class Full(Denoiser):
    name = "full"
    summary = "the whole network at every step (baseline)"

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return _WholeNetwork(network)


class _WholeNetwork(BuiltDenoiser):
    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        return self.network(x, sigma), {"network": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {"network": self.network}
