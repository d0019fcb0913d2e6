"""How many blocks run at a noise level: by equal intervals of diffusion time, or by the steps of one trial.

Both are piecewise constant in the level, so they apply to training draws and to a trial's own
levels alike. For early exit (Moon et al. 2024, arXiv:2408.05927).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.parts import BuiltDenoiser, Units

Time = Callable[[Tensor], Tensor]
"""Diffusion time in [0, 1] of levels, any shape, float64 on the host.

0 is data (`methods.networks.base.Network`).
"""

_ULPS = 1e-9  # tolerance of a level that lies on an edge


class Depths(ABC):
    """Depths int64 [pieces], and the piece of a level."""

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
        """Return the length of each piece in time, float64 [pieces], in any unit."""


class ByTime(Depths):
    """A table over equal intervals of time, data first.

    The right end of time belongs to the last interval.
    """

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
    """Depths at falling levels.

    Each holds from its level down to just above the next, and beyond both ends.
    """

    def __init__(self, depths: Sequence[int], levels: Sequence[float], time: Time) -> None:
        super().__init__(depths)
        self._levels = torch.tensor(list(levels), dtype=torch.float64)
        self._time = time

    def piece(self, sigma: Tensor) -> Tensor:
        """Return the number of levels, without the first, that lie at or above sigma."""
        return (self._levels[1:, None] * (1 + _ULPS) >= sigma[None]).sum(0)

    def lengths(self) -> Tensor:
        """Return the differences of the levels' times, from 1 down to 0."""
        inner = self._time(self._levels[1:])
        ends = torch.cat([inner.new_ones(1), inner, inner.new_zeros(1)])
        return ends[:-1] - ends[1:]


class LevelRecorder(BuiltDenoiser):
    """A stand-in for a network that returns 0 and records the levels at which a solver evaluates it."""

    def __init__(self) -> None:
        self.levels: list[float] = []

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        self.levels.append(float(sigma[0]))
        return torch.zeros_like(x), {}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {}


def reversed_depths(depths: Depths, visited: Sequence[float]) -> tuple[list[float], list[int]]:
    """Return falling levels and their depths, so that the k-th of n visited levels runs the depth of the (n-1-k)-th.

    This keeps the multiset of a trajectory's depths. Raises ValueError where a level that is
    visited several times would need several depths.
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
