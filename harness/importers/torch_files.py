"""Reads weights files of other programs as tensors alone: nothing of a pickle is executed."""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from harness.errors import UsageError

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
"""Of the files that `torch.save` writes."""
_WIDENED = (torch.float16, torch.bfloat16)
_KEPT = (torch.float32, torch.float64)
_UNREADABLE = (
    RuntimeError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, UnpicklingError, OSError,
)  # fmt: skip
"""What torch.load raises for files that are torn, foreign, or no tensors alone."""


@dataclass(frozen=True)
class FoundState:
    """The state dict of a checkpoint, and what the file holds around it."""

    tensors: dict[str, torch.Tensor]
    weights: str
    """ "ema" or "raw" where the file says which, else "not stated"."""
    arguments: dict[str, Any]
    """Of the training script, where the file has them."""


def read_torch_file(path: Path) -> Any:
    """Return what a file of `torch.save` holds, tensors mapped from disk where its format allows it.

    Besides tensors and plain containers it may hold an argparse.Namespace, as DiT's training files do.
    UsageError for a file that is torn, a TorchScript program, or anything else.
    """
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped and _is_program(path):
            raise UsageError(f"{path} is a TorchScript program; expected a file of tensors, so save its state dict")
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except (*_UNREADABLE, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:120]
        raise UsageError(
            f"{path} does not load as tensors alone ({reason}); expected a whole state dict of tensors"
        ) from None


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file by name; UsageError if it is torn or none."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError) as error:
        raise UsageError(f"{path} is no whole safetensors file ({error}); download it again") from None


def find_state(found: Any, path: Path, stated: Mapping[str, Any]) -> FoundState:
    """Return the state dict in a checkpoint: the averaged one, and the raw one only if `weights` states it.

    Known nests are {model, ema, opt, args} of DiT and SiT, and [model, optimiser, epoch, step, ema] of ddim.
    """
    wants_raw = stated.get("weights") == "raw"
    if isinstance(found, Mapping) and _is_state(found):
        return FoundState(drop_prefixes(dict(found)), str(stated.get("weights", "not stated")), {})

    # nests of trainings
    raw, ema = None, None
    arguments: dict[str, Any] = {}
    if isinstance(found, Mapping) and {"model", "ema"} & found.keys():
        raw, ema = found.get("model"), found.get("ema")
        arguments = dict(vars(found["args"])) if isinstance(found.get("args"), argparse.Namespace) else {}
    elif isinstance(found, list | tuple) and found and isinstance(found[0], Mapping):
        raw, ema = found[0], found[-1] if len(found) > 4 else None
    state = raw if wants_raw else ema

    # the one that is wanted
    if not wants_raw and raw is not None and not _is_state(ema):
        raise UsageError(f"{path} holds no averaged weights; state weights=raw to take the raw ones all the same")
    if not _is_state(state):
        raise UsageError(f"{path} holds no state dict; expected a mapping from names to tensors")
    assert isinstance(state, Mapping)
    return FoundState(drop_prefixes(dict(state)), "raw" if wants_raw else "ema", arguments)


def tensor_names(path: Path) -> set[str]:
    """Return the names in a checkpoint's state dict, for a format to be recognised by; empty for other files."""
    if path.suffix not in TORCH_SUFFIXES or not path.is_file():
        return set()
    found = read_torch_file(path)
    nests = found if isinstance(found, list | tuple) else [found, *found.values()] if isinstance(found, Mapping) else []
    states = [nest for nest in nests if _is_state(nest)]
    return set(drop_prefixes(dict(states[0]))) if states else set()


def drop_prefixes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors without the prefixes of DistributedDataParallel and torch.compile, if all have them."""
    for prefix in ("_orig_mod.", "module.", "_orig_mod."):
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def widen_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return tensors in float32 (float64 stays), each with memory of its own, and the number formats on disk.

    UsageError for other number formats, such as float8 and int8, and for values that are not finite.
    """
    found = {name: _widen(name, value, path) for name, value in tensors.items()}
    return found, sorted({_dtype_name(value) for value in tensors.values()})


def _widen(name: str, value: torch.Tensor, path: Path) -> torch.Tensor:
    if value.dtype not in (*_WIDENED, *_KEPT) or value.layout is not torch.strided or value.is_quantized:
        raise UsageError(
            f"{path}: {name} is of type {_dtype_name(value)}; expected float32, float64, float16 or bfloat16, so "
            "import the weights from before they were quantised"
        )
    if not bool(torch.isfinite(value).all()):
        raise UsageError(f"{path}: {name} holds values that are not finite; expected trained weights")
    wide = value.detach().float() if value.dtype in _WIDENED else value.detach()
    return wide.clone(memory_format=torch.contiguous_format)


def count_up(names: Iterable[str], prefix: str) -> int:
    """Return how many numbers 0, 1, ... follow a prefix such as "blocks." in names."""
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)}
    return len({number for number in numbers if number.isdecimal()})


def _is_state(found: Any) -> bool:
    return (
        isinstance(found, Mapping)
        and len(found) > 0
        and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items())
    )


def _is_program(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") or "/code/" in name for name in archive.namelist())


def _dtype_name(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
