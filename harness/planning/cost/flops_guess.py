"""A guess of what an evaluation takes, where nothing was measured: counted FLOPs over an assumed speed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch

from harness.config.network_card import NetworkCard
from harness.config.zoo_card import PREFIX, read_zoo_card
from harness.errors import HarnessError
from harness.identity import canonical_json
from harness.planning.cost.work import BACKWARD, network_key
from harness.sampling.conditions import any_class
from harness.sampling.decoder import build_decoder
from harness.sampling.network import build_network, data_shape
from harness.specs.sampler import DecoderSpec, ModelSpec

_MOST_PARAMETERS = 20_000_000
"""Of a network that is run to count its FLOPs: a second or so of one core."""
_LOG = logging.getLogger("oneclock.planning.flops_guess")


@dataclass(frozen=True)
class AssumedSpeed:
    """What a device is taken to do; within a factor of three it was so where it was looked at."""

    flops_per_second: float
    call_seconds: float
    """Of a call of a network, however small."""
    words: str
    half_factor: float = 1.0
    """How much faster 16-bit numbers are."""

    def flops_in(self, precision: str) -> float:
        """Return FLOPs per second in a number format."""
        return self.flops_per_second * (self.half_factor if precision in ("bfloat16", "float16") else 1.0)


SPEEDS = {
    "cpu": AssumedSpeed(40e9, 0.0015, "an assumed 40 GFLOP/s a core"),
    "cuda": AssumedSpeed(15e12, 0.01, "an assumed 15 TFLOP/s a GPU, 90 in 16 bits", 6.0),
}
"""By kind of device. On a core of a server small networks ran at 40 to 55 GFLOP/s; the GPU's was not measured."""


def assumed_speed(device_class: str) -> AssumedSpeed:
    """Return the assumed speed of a class of devices."""
    return SPEEDS.get(device_class.partition(":")[0], SPEEDS["cpu"])


class EvaluationFlops:
    """FLOPs of one evaluation of an image by network: kept ones, else the zoo's, else counted without memory or work.

    The count goes through the network on torch's meta device, where tensors have shapes and no values. A network that
    looks at values, as the solvers of an ODE do, is run once on one image, if it is of at most `_MOST_PARAMETERS`.
    """

    def __init__(self, known: Mapping[str, float], cards: Mapping[str, NetworkCard]) -> None:
        """`known` are kept FLOPs and `cards` network cards, both by `network_key`."""
        self._known = dict(known)
        self._cards = cards
        self._missing: set[str] = set()

    def of(self, model: ModelSpec) -> float | None:
        """Return the FLOPs of one evaluation; None where they cannot be had without running the network."""
        key = network_key(model)
        if key not in self._known and key not in self._missing:
            found = self._zoo_flops(key) or _count_on(model, "meta") or _count_in_one_run(model)
            if found is None:
                self._missing.add(key)
            else:
                self._known[key] = found
        return self._known.get(key)

    def _zoo_flops(self, key: str) -> float | None:
        """Return the FLOPs of an evaluation as the training of a network of the zoo counted them."""
        card = self._cards.get(key)
        if card is None or not (card.weights or "").startswith(PREFIX):
            return None
        try:
            trained = read_zoo_card(str(card.weights).removeprefix(PREFIX)).training
        except HarnessError:
            return None
        return trained.flops / trained.images_seen / BACKWARD if trained.flops and trained.images_seen else None


def _count_in_one_run(model: ModelSpec) -> float | None:
    """Return the FLOPs of one evaluation of one image by running it; None for a network that is too large for that."""
    try:
        with torch.device("meta"):
            network = build_network(model.network, data_shape(model.data))
    except Exception as error:  # a family's own code, on a device that it may not know
        _LOG.debug("the size of %s is not known without its memory: %s", model.network.name, error)
        return None
    few = sum(one.numel() for one in network.parameters()) <= _MOST_PARAMETERS
    return _count_on(model, "cpu") if few else None


def _count_on(model: ModelSpec, device: str) -> float | None:
    """Return the FLOPs of one evaluation of one image on a device; None where that fails."""
    from harness.measure.flops import count_flops  # it imports what only counting needs

    data = model.data
    try:
        with torch.device(device), torch.no_grad():
            network = build_network(model.network, data_shape(data)).eval()
            x, sigma = torch.zeros(1, *data.state_shape), torch.ones(1)
            with any_class(network, 1):
                return float(count_flops(network, x, sigma)) or None
    except Exception as error:  # a family's own code, on a device that it may not know
        _LOG.debug("the FLOPs of %s cannot be counted on %s: %s", model.network.name, device, error)
        return None


def decoder_flops(decoder: DecoderSpec, state_shape: tuple[int, int, int]) -> float | None:
    """Return the FLOPs of decoding one state; None for a decoder that is not on this machine."""
    return _count_decoder(canonical_json(decoder.params), state_shape) if decoder.params else None


@cache
def _count_decoder(params: str, state_shape: tuple[int, int, int]) -> float:
    from harness.measure.flops import count_flops  # it imports what only counting needs

    with torch.device("meta"):
        return float(count_flops(build_decoder(json.loads(params), batch=1), torch.empty(1, *state_shape)))
