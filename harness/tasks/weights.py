"""Weights: check given weights against their network before anything is sampled with them.

The file is safetensors, as in the zoo, or a PyTorch checkpoint as authors publish it (.pth, .pt). A checkpoint is
read as tensors only, never unpickled into code, and kept as safetensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from harness.errors import UsageError
from harness.measure.flops import cross_check
from harness.sampling.network import build_network, data_shape
from harness.sampling.place import Place
from harness.sampling.weights_file import read_state_dict
from harness.specs.weights import WeightsOutput, WeightsSpec
from harness.task import Event, Result


def run(spec: WeightsSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield the weights by name; UsageError unless they fit the network exactly."""
    data = data_shape(spec.data)
    network = build_network(spec.network, data)
    content = inputs[spec.path].tobytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != spec.sha256:
        raise UsageError(f"{spec.path} has changed since the run was planned; expected it to stay, so run again")

    given = read_state_dict(content, spec.path)
    _check_fit(given, network.state_dict(), spec.path, spec.network.name)

    check = cross_check(network, data)
    output = WeightsOutput(
        price=spec.price,
        counter_flops=check.flops,
        deepspeed_macs=check.macs,
        counters_agree=check.agree,
        sha256=sha256,
    )
    yield Result(output, {name: value.numpy() for name, value in given.items()})


def _check_fit(given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], path: str, card: str) -> None:
    for name in sorted(wanted.keys() | given.keys()):
        found = list(given[name].shape) if name in given else "no such tensor"
        expected = list(wanted[name].shape) if name in wanted else "no such tensor"
        if found != expected:
            raise UsageError(f'{path}: {name} is {found}; the network "{card}" expects {expected}')
