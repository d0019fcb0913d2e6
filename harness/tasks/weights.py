"""Weights: check given weights against their network before anything is sampled with them.

A safetensors file (the zoo's are such), or a PyTorch checkpoint as authors publish it (.pth, .pt), which is read as
tensors alone, never unpickled into code, and is kept as safetensors from then on.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from harness.errors import UsageError
from harness.flops import cross_check
from harness.sampling.network import build_network, data_shape
from harness.sampling.place import Place
from harness.specs.weights import WeightsOutput, WeightsSpec
from harness.task import Event, Result

_HALF = (torch.float16, torch.bfloat16)
_TAKEN = (torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool)


def run(spec: WeightsSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield the weights by name if they fit the network exactly; raise UsageError in one sentence if they do not."""
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


def read_state_dict(data: bytes, path: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a weights file by name, half precision widened to float32.

    UsageError if it holds none, or other number formats, or values that are no numbers.
    """
    found = {name: value.float() if value.dtype in _HALF else value for name, value in _tensors(data, path).items()}
    for name, value in found.items():
        if value.dtype not in _TAKEN:
            raise UsageError(f"{path}: {name} is of type {value.dtype}; expected float32, float16 or bfloat16")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UsageError(f"{path}: {name} holds values that are not finite; expected trained weights")
    return found


def _tensors(data: bytes, path: str) -> dict[str, torch.Tensor]:
    if not path.endswith((".pth", ".pt")):
        try:
            return load(data)
        except SafetensorError as error:
            raise UsageError(f"{path} is no safetensors file ({error}); expected that, or a .pth or .pt file") from None
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, KeyError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UsageError(
            f"{path} does not load as tensors alone ({reason}); expected a state dict of tensors"
        ) from None
    found = found.get("ema", found) if isinstance(found, dict) else found  # DiT's training checkpoints hold both
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise UsageError(f"{path} holds no state dict; expected a mapping from names to tensors")
    return {str(name): value.contiguous() for name, value in found.items()}


def _check_fit(given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], path: str, card: str) -> None:
    for name in sorted(wanted.keys() | given.keys()):
        found = list(given[name].shape) if name in given else "no such tensor"
        expected = list(wanted[name].shape) if name in wanted else "no such tensor"
        if found != expected:
            raise UsageError(f'{path}: {name} is {found}; the network "{card}" expects {expected}')
