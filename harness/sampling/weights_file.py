"""Reads weights files: safetensors alone; half precision is widened."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from harness.errors import UsageError
from harness.sampling.foreign_weights import check_imported

_HALF = (torch.float16, torch.bfloat16)
_TAKEN = (torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool)


def read_state_dict(data: bytes, path: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a weights file by name, half precision widened to float32.

    UsageError if it is no safetensors file, or holds other number formats or values that are not finite.
    """
    found = {name: value.float() if value.dtype in _HALF else value for name, value in _tensors(data, path).items()}
    for name, value in found.items():
        if value.dtype not in _TAKEN:
            raise UsageError(f"{path}: {name} is of type {value.dtype}; expected float32, float16 or bfloat16")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UsageError(f"{path}: {name} holds values that are not finite; expected trained weights")
    return found


def _tensors(data: bytes, path: str) -> dict[str, torch.Tensor]:
    check_imported(path)
    try:
        return load(data)
    except SafetensorError as error:
        raise UsageError(f"{path} is no safetensors file ({error}); expected a whole one") from None
