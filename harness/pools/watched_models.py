"""The cache of a worker's models, which notices a method that changes the code of a cached one.

Changed weights are noticed by the cache itself, see `harness.sampling.place`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from harness.integrity.changes import Change
from harness.sampling.place import Model, ModelCache

_TABLES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_parameters", "_buffers")


class WatchedModels(ModelCache):
    """Models that later trials share. One worker owns it; not thread-safe."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[str, tuple[nn.Module, dict[str, Any]]] = {}

    def get(self, key: str, make: Callable[[], Model]) -> Model:
        """Return the model of a key; `make` is called if it is not cached, and the new model is known as it is then."""
        model = super().get(key, make)
        known = self._made.get(key)
        if isinstance(model, nn.Module) and (known is None or known[0] is not model):
            self._made[key] = model, describe_code(model)
        return model

    def code_changes(self) -> list[Change]:
        """Return the models whose code is not as they were made; to restore one is to drop it."""
        self._made = {key: one for key, one in self._made.items() if key in self._models}
        found = []
        for key, (model, made) in self._made.items():
            if (now := describe_code(model)) != made:
                name = next(name for name in {**made, **now} if made.get(name) != now.get(name))
                label = f"the cached {type(model).__name__} that other trials use ({name or 'itself'})"
                found.append(Change(label, None, partial(self._drop, key)))
        return found

    def clear(self) -> None:
        """Drop all models."""
        self._models.clear()
        self._made.clear()

    def _drop(self, key: str) -> None:
        self._models.pop(key, None)


def describe_code(model: nn.Module) -> dict[str, tuple[Any, ...]]:
    """Return what a module runs, by the names of its submodules: its class, its own `forward`, entries of its tables.

    Names of buffers count, and numbers of hooks.
    """
    found = {}
    for name, module in model.named_modules():
        own = vars(module)
        found[name] = id(type(module)), id(own.get("forward")), *(tuple(own[table]) for table in _TABLES)
    return found
