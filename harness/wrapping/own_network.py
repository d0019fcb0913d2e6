"""The network of a wrapped pipeline: inside its own code, so nothing here calls one.

No paper: both stand for the user's code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, BuiltDenoiser, Denoiser, Method, Units

_UNSEEN = "a wrapped pipeline calls its own network, under the executor that wraps it"


class OwnNetwork(Network):
    """The network of a wrapped pipeline, of which nothing is known but that it is there."""

    family = "own"
    summary = "a wrapped pipeline's own network, whose calls are not seen"
    trainable = False

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        raise NotImplementedError(_UNSEEN)


class OwnDenoiser(Denoiser):
    """Whatever of its network a wrapped pipeline runs."""

    name = "own"
    summary = "whatever a wrapped pipeline runs of its own network"
    families = ("own",)

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        if parts["executor"].name == "wrapped-pipeline":
            return None
        return 'it is that of a wrapped pipeline; expected pipeline = "FILE.py:NAME" in the trial'

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return False

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        return _Unseen()


class _Unseen(BuiltDenoiser):
    def __call__(self, x: Tensor, sigma: Tensor, step: int, *memory: Any) -> tuple[Tensor, Units]:
        raise NotImplementedError(_UNSEEN)

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {}
