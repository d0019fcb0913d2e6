"""Weights: check given weights against their network before anything is sampled with them.

The file is safetensors, as the zoo has it and as `oneclock import network` writes it. Files of other programs are
refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import UsageError
from harness.measure.flops import cross_check
from harness.sampling.network import build_network, data_shape
from harness.sampling.place import Place
from harness.sampling.weights_file import read_state_dict
from harness.sampling.weights_fit import check_fit
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
    check_fit(given, network.state_dict(), spec.path, spec.network.name)

    check = cross_check(network, data)
    output = WeightsOutput(
        price=spec.price,
        counter_flops=check.flops,
        deepspeed_macs=check.macs,
        counters_agree=check.agree,
        sha256=sha256,
    )
    yield Result(output, {name: value.numpy() for name, value in given.items()})
