"""Weights: given ones, checked against their network before anything is sampled with them."""

from __future__ import annotations

from typing import Annotated

from harness.specs.base import DecidesNothing, Json, Output, Policy, Price, Spec
from harness.specs.sampler import DataSpec, NetworkSpec


class WeightsOutput(Output):
    """What the weights cost where that is known, and whether two counters agree on the network's work."""

    price: Price
    counter_flops: int
    deepspeed_macs: int
    counters_agree: bool
    sha256: str | None = None
    """Of the file that holds them, where one does."""


class WeightsSpec(Spec):
    """A file of weights for a network."""

    kind = "weights"
    entry = "harness.tasks.weights"
    output = WeightsOutput
    policy = Policy(shared=True, of_a_users_file=True)

    path: Annotated[str, DecidesNothing("location of the bytes")]
    sha256: str
    price: Price
    data: DataSpec
    network: NetworkSpec

    def files(self) -> tuple[str, ...]:
        return (self.path,)

    def modules(self) -> tuple[str, ...]:
        """Return the modules that read the file and count FLOPs; the entry only checks the fit."""
        _, *rest = super().modules()
        return ("harness.sampling.weights_file", "harness.measure.flops", *rest)


class DecoderWeightsSpec(Spec):
    """A file of weights for a decoder of latents."""

    kind = "weights"
    entry = "harness.tasks.decoder_weights"
    output = WeightsOutput
    policy = Policy(shared=True, of_a_users_file=True)

    name: Annotated[str, DecidesNothing("what the card is called")]
    path: Annotated[str, DecidesNothing("location of the bytes")]
    sha256: str
    params: Json
    """Of `harness.sampling.decoder.DecoderParams`."""
    state_shape: tuple[int, int, int]
    """Channels, height and width; work is counted on it."""
    module: Annotated[str, DecidesNothing("names code, whose hash is in the identity")]

    def files(self) -> tuple[str, ...]:
        return (self.path,)

    def modules(self) -> tuple[str, ...]:
        """Return the modules that read the file and count FLOPs; the entry only checks the fit."""
        _, *rest = super().modules()
        return ("harness.sampling.weights_file", "harness.measure.flops", *rest)
