"""The cache of a worker's models, which notices a method that changes the weights or the code of a cached one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.integrity.changes import Change
from harness.sampling.place import Model, ModelCache

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
Fingerprint = dict[str, tuple[Any, ...]]


class WatchedModels(ModelCache):
    """Models that later trials share. One worker owns it; not thread-safe."""

    def __init__(self) -> None:
        super().__init__()
        self._prints: dict[str, Fingerprint] = {}
        self._used: set[str] = set()

    def get(self, key: str, make: Callable[[], Model]) -> Model:
        """Return the model of a key; `make` is called if it is not cached, and the new model is known as it is then."""
        is_new = key not in self._models
        model = super().get(key, make)
        if is_new and isinstance(model, nn.Module):
            self._prints[key] = fingerprint(model)
        self._used.add(key)
        return model

    def begin_unit(self) -> None:
        """Forget which models were used."""
        self._used.clear()
        self._prints = {key: kept for key, kept in self._prints.items() if key in self._models}

    def changes(self) -> list[Change]:
        """Return the models used since `begin_unit` that are not as they were made; to restore one is to drop it."""
        found = []
        for key in self._used & self._models.keys() & self._prints.keys():
            model, kept = self._models[key], self._prints[key]
            now = fingerprint(model)
            if now != kept:
                name = next(name for name in {**kept, **now} if kept.get(name) != now.get(name))
                label = f"the cached {type(model).__name__} that other trials use ({name})"
                found.append(Change(label, None, partial(self._models.pop, key, None)))
        return found

    def clear(self) -> None:
        """Drop all models."""
        self._models.clear()
        self._prints.clear()


@torch.no_grad()
def fingerprint(model: nn.Module) -> Fingerprint:
    """Return what a module is made of: classes, hooks, own `forward`, and a checksum of each tensor, by name."""
    found: Fingerprint = {}
    for name, module in model.named_modules():
        own = vars(module)
        found[name or "itself"] = (id(type(module)), id(own.get("forward")), *(len(own[hooks]) for hooks in _HOOKS))
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found[name] = (tensor.dtype, tuple(tensor.shape), tensor.requires_grad, _checksum(tensor))
    return found


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_parameters", "_buffers", "_modules")


def _checksum(tensor: Tensor) -> int:
    """Return the sum of a tensor's bits, read as whole numbers."""
    flat = tensor.detach().contiguous().view(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    return int(flat.view(_WORDS[flat.element_size()]).sum(dtype=torch.int64))
