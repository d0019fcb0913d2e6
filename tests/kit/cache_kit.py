"""Trajectories of built denoisers with memory, called one by one, for tests of caches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from methods.networks.base import Network
from methods.parts import BuiltDenoiser

LEVELS = (10.0, 6.0, 3.5, 2.0, 1.1, 0.6, 0.3, 0.15, 0.07, 0.03)


def states(rows: int = 3, channels: int = 1, side: int = 8, seed: int = 1) -> Tensor:
    """Return unit noise [rows, channels, side, side]."""
    return torch.randn(rows, channels, side, side, generator=torch.Generator().manual_seed(seed))


def called(built: BuiltDenoiser, x: Tensor, levels: Any = LEVELS) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Return the estimates and units of calls along a trajectory by Euler's method from x at the first level."""
    memory, found, units = built.init_memory(len(x)), [], []
    x = x * levels[0]
    for step, level in enumerate(levels):
        estimate, ran = built(x, torch.full((len(x),), level, dtype=torch.float64), step, memory)
        found.append(estimate)
        units.append(dict(ran))
        ratio = levels[step + 1] / level if step + 1 < len(levels) else 0.0
        x = ratio * x + (1 - ratio) * estimate
    return found, units


def whole_estimates(network: Network, x: Tensor, levels: Any = LEVELS) -> list[Tensor]:
    """Return the estimates of the whole network along its own trajectory."""
    found = []
    x = x * levels[0]
    for step, level in enumerate(levels):
        found.append(network(x, torch.full((len(x),), level, dtype=torch.float64)))
        ratio = levels[step + 1] / level if step + 1 < len(levels) else 0.0
        x = ratio * x + (1 - ratio) * found[-1]
    return found


def names(units: list[dict[str, Any]]) -> list[str]:
    """Return the one unit that ran in each call of all rows."""
    assert all(len(ran) == 1 and list(ran.values()) == [1] for ran in units)
    return [next(iter(ran)) for ran in units]
