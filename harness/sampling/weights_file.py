"""Reads weights files: safetensors, or PyTorch checkpoints loaded as tensors only; half precision is widened."""

from __future__ import annotations

import io
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from harness.errors import UsageError

_HALF = (torch.float16, torch.bfloat16)
_TAKEN = (torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool)


def read_state_dict(data: bytes, path: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a weights file by name, half precision widened to float32.

    UsageError if it holds no tensors, other number formats, or values that are not finite.
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
