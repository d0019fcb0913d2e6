"""Decoder weights: check those of a decoder of latents against it before anything is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from harness.errors import UsageError
from harness.measure.flops import CrossCheck, count_flops, deepspeed_macs
from harness.sampling.decoder import build_decoder
from harness.sampling.place import Place
from harness.sampling.weights_file import read_state_dict
from harness.sampling.weights_fit import check_fit
from harness.specs.base import Price
from harness.specs.weights import DecoderWeightsSpec, WeightsOutput
from harness.task import Event, Result


def run(spec: DecoderWeightsSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield the weights by name; UsageError unless they fit the decoder exactly."""
    decoder = build_decoder(spec.params, batch=1).eval()
    content = inputs[spec.path].tobytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != spec.sha256:
        raise UsageError(f"{spec.path} has changed since the run was planned; expected it to stay, so run again")

    given = read_state_dict(content, spec.path)
    check_fit(given, decoder.state_dict(), spec.path, spec.name)

    # two counts of decoding one image
    state = torch.randn(1, *spec.state_shape, generator=torch.Generator().manual_seed(0))
    check = CrossCheck(count_flops(decoder, state), deepspeed_macs(decoder, state))
    output = WeightsOutput(
        price=Price(),  # not known here
        counter_flops=check.flops,
        deepspeed_macs=check.macs,
        counters_agree=check.agree,
        sha256=sha256,
    )
    yield Result(output, {name: value.numpy() for name, value in given.items()})
