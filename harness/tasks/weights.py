"""Weights: check given weights against their network before anything is sampled with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.flops import cross_check
from harness.network_cards import NetworkCard, build_network
from harness.tasks import Event, Result

if TYPE_CHECKING:
    from harness.worker import Worker


def run(spec: dict[str, Any], inputs: Mapping[str, Any], worker: Worker) -> Iterator[Event]:
    """Yield the weights by name if they fit the network exactly; raise UsageError in one sentence if they do not."""
    from harness.worker import resolve

    card, data = NetworkCard(**spec["network"]), DatasetCard(**spec["dataset"]).shape()
    network = build_network(card, data)
    try:
        given = load(resolve(inputs["weights"]).tobytes())
    except SafetensorError as error:
        raise UsageError(f"{spec['path']} is not a safetensors file ({error}); convert the checkpoint first") from None
    _check_fit(given, network.state_dict(), spec["path"], card.name)
    check = cross_check(network, data)
    price = {"seconds": 0.0, "flops": 0}
    facts = {"counters_agree": check.agree, "counter_flops": check.flops, "deepspeed_macs": check.macs, "price": price}
    yield Result({name: value.numpy() for name, value in given.items()}, facts)


def _check_fit(given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], path: str, card: str) -> None:
    for name in sorted(wanted.keys() | given.keys()):
        found = list(given[name].shape) if name in given else "no such tensor"
        expected = list(wanted[name].shape) if name in wanted else "no such tensor"
        if found != expected:
            raise UsageError(f'{path}: {name} is {found}; the network "{card}" expects {expected}')
