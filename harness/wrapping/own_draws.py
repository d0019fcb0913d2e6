"""Noise that a user's code draws itself, replaced by this harness's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from methods.parts import StepNoise


@contextmanager
def own_draws(unit: Tensor, noise: StepNoise, has_begun: Callable[[], bool]) -> Iterator[None]:
    """Let torch.randn and randn_like give this harness's noise where code draws noise of the state's shape.

    The first draw before the network was called is the initial noise, and each later one that of the next step.
    """
    randn, randn_like = torch.randn, torch.randn_like
    steps = iter(range(1 << 30))
    drawn: list[Tensor] = []

    def draw(like: Tensor, kwargs: Mapping[str, Any]) -> Tensor:
        first = not drawn and not has_begun()
        found = unit if first else noise(next(steps))
        drawn.append(found)
        return found.to(kwargs.get("device") or like.device, kwargs.get("dtype") or like.dtype, copy=True)

    def own_randn(*size: Any, **kwargs: Any) -> Tensor:
        shape = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
        if tuple(kwargs.get("size", shape)) != tuple(unit.shape):
            return randn(*size, **kwargs)
        return draw(unit, kwargs)

    def own_randn_like(like: Tensor, **kwargs: Any) -> Tensor:
        return draw(like, kwargs) if like.shape == unit.shape else randn_like(like, **kwargs)

    vars(torch).update(randn=own_randn, randn_like=own_randn_like)
    try:
        yield
    finally:
        vars(torch).update(randn=randn, randn_like=randn_like)
