"""Where a task runs: its device, the models kept there between tasks, its images, and the workers it shares it with."""

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
    """The models that were used last, by what they are."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, Any] = OrderedDict()

    def get(self, key: str, make: Callable[[], Model]) -> Model:
        """Return the model of a key, made if it is not there."""
        if key not in self._models:
            self._models[key] = make()
            while len(self._models) > _KEPT_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        model: Model = self._models[key]
        return model


@dataclass(frozen=True)
class Place:
    """What a task may know of the worker that runs it."""

    device: torch.device
    models: ModelCache = field(default_factory=ModelCache)
    span: Span | None = None
    ranks: Ranks = ALONE
