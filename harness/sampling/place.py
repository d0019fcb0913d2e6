"""Where a task runs: its device, the models cached there, its images, and its ranks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn

from harness.task import ALONE, Ranks, Span

_KEPT_MODELS = 5
Model = TypeVar("Model")


class ModelCache:
    """The most recently used models, by a key that decides their weights. One worker owns it; not thread-safe.

    A method may change the weights of a model, and others use the same one: it is then made anew.
    """

    def __init__(self) -> None:
        self._models: OrderedDict[str, tuple[Any, list[float]]] = OrderedDict()
        self._found_changed = False

    def get(self, key: str, make: Callable[[], Model]) -> Model:
        """Return the model of a key; `make` is called if it is not cached, or its weights are others by now."""
        if key in self._models and self._is_changed(key):
            self._found_changed = True
            del self._models[key]
        if key not in self._models:
            model = make()
            self._models[key] = model, _weight_sums(model)
            while len(self._models) > _KEPT_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        found: Model = self._models[key][0]
        return found

    def drop_changed(self) -> bool:
        """Drop the models whose weights are others than when they were made.

        Return whether there were any, those included that were made anew since the last call.
        """
        changed = [key for key in self._models if self._is_changed(key)]
        for key in changed:
            del self._models[key]
        found, self._found_changed = self._found_changed or bool(changed), False
        return found

    def _is_changed(self, key: str) -> bool:
        model, sums = self._models[key]
        return _weight_sums(model) != sums


def _weight_sums(model: object) -> list[float]:
    """Return sums over all parameters and buffers that differ where a value does; nothing for what is no module."""
    if not isinstance(model, nn.Module):
        return []
    values = [one for part in model.modules() for one in (*part._parameters.values(), *part._buffers.values())]
    real = [one.detach() for one in values if one is not None and one.is_floating_point()]
    if not real:
        return []
    norms = torch.stack(torch._foreach_norm(real, 2, dtype=torch.float64))
    return [float(value.numel()) for value in real] + norms.tolist()


@dataclass(frozen=True)
class Place:
    """What a task may know of its worker: device, model cache, span of images, ranks. The worker makes it."""

    device: torch.device
    models: ModelCache = field(default_factory=ModelCache)
    span: Span | None = None
    ranks: Ranks = ALONE
