"""Where a task runs: its device, the models cached there, its images, and its ranks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from harness.task import ALONE, Ranks, Span

_KEPT_MODELS = 5
Model = TypeVar("Model")


class ModelCache:
    """The most recently used models, by a key that decides their weights. One worker owns it; not thread-safe."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, Any] = OrderedDict()

    def get(self, key: str, make: Callable[[], Model]) -> Model:
        """Return the model of a key; `make` is called if it is not cached."""
        if key not in self._models:
            self._models[key] = make()
            while len(self._models) > _KEPT_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        model: Model = self._models[key]
        return model


@dataclass(frozen=True)
class Place:
    """What a task may know of its worker: device, model cache, span of images, ranks. The worker makes it."""

    device: torch.device
    models: ModelCache = field(default_factory=ModelCache)
    span: Span | None = None
    ranks: Ranks = ALONE
