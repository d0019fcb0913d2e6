"""How many blocks run at a noise level: by equal intervals of diffusion time, or by the steps of one trial.

Both are piecewise constant in the level, so that they hold for training draws as well as for a trial's own levels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.parts import BuiltDenoiser, Units

Time = Callable[[Tensor], Tensor]
"""Diffusion time in [0, 1] of levels, any shape, float64 on the host; 0 is data (`methods.networks.base.Network`)."""

_ULPS = 1e-9  # by which a level may miss an edge and still count as lying on it


class Depths(ABC):
    """Depths int64 [pieces] and which piece a level belongs to."""

    def __init__(self, depths: Sequence[int]) -> None:
        self.depths = torch.tensor(list(depths), dtype=torch.int64)

    def at(self, sigma: Tensor) -> Tensor:
        """Return how many blocks run at levels sigma [rows]: int64 [rows] on the host."""
        return self.depths[self.piece(sigma.cpu().double())]

    @abstractmethod
    def piece(self, sigma: Tensor) -> Tensor:
        """Return the piece of levels, float64 [rows] on the host: int64 [rows]."""

    @abstractmethod
    def lengths(self) -> Tensor:
        """Return how much of time each piece takes up, float64 [pieces], in any one unit."""


class ByTime(Depths):
    """A table over equal intervals of time, data first; the right end of time belongs to the last interval."""

    def __init__(self, depths: Sequence[int], time: Time) -> None:
        super().__init__(depths)
        self._time = time

    def piece(self, sigma: Tensor) -> Tensor:
        """Return min(floor(n t), n - 1)."""
        n = len(self.depths)
        return (self._time(sigma) * n + _ULPS).floor().long().clamp(max=n - 1)

    def lengths(self) -> Tensor:
        """Return ones."""
        return torch.ones(len(self.depths), dtype=torch.float64)


class ByLevel(Depths):
    """Depths at levels that fall; each reaches from its own level down to just above the next, the ends beyond all."""

    def __init__(self, depths: Sequence[int], levels: Sequence[float], time: Time) -> None:
        super().__init__(depths)
        self._levels = torch.tensor(list(levels), dtype=torch.float64)
        self._time = time

    def piece(self, sigma: Tensor) -> Tensor:
        """Return how many levels but the first lie at or above sigma."""
        return (self._levels[1:, None] * (1 + _ULPS) >= sigma[None]).sum(0)

    def lengths(self) -> Tensor:
        """Return the differences of the levels' times, from 1 down to 0."""
        inner = self._time(self._levels[1:])
        ends = torch.cat([inner.new_ones(1), inner, inner.new_zeros(1)])
        return ends[:-1] - ends[1:]


class Visited(BuiltDenoiser):
    """Stands in for a network to learn at which levels a solver asks it: answers 0 and remembers."""

    def __init__(self) -> None:
        self.levels: list[float] = []

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        self.levels.append(float(sigma[0]))
        return torch.zeros_like(x), {}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {}


def backwards(depths: Depths, visited: Sequence[float]) -> tuple[list[float], list[int]]:
    """Return falling levels and their depths such that the k-th of n visited levels runs what the (n-1-k)-th did.

    So the multiset of depths of a trajectory is kept. Raises ValueError where a level that is visited several times
    would have to run several depths.
    """
    found: dict[float, int] = {}
    for level, depth in zip(visited, depths.at(torch.tensor(visited, dtype=torch.float64)).tolist()[::-1], strict=True):
        if found.setdefault(level, depth) != depth:
            raise ValueError(
                f"under this solver the level {level:g} would run {found[level]} and {depth} blocks, so reverse cannot "
                "keep the FLOPs; take a solver with one evaluation per step"
            )
    levels = sorted(found, reverse=True)
    return levels, [found[level] for level in levels]
