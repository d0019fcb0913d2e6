"""Coverage: how often tuning draws the levels at which a network is evaluated in sampling.

It is the share of drawn levels in the cell of each level of a grid. A cell ends half-way to the
neighbours in ln sigma. A level that is rarely drawn is learnt late or never, and a mean loss does
not show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.parts import PrepareContext
from methods.schedules.edm import EDM

STEPS = 10
"""Steps of the usual grid, EDM's, where a preparation serves trials of any steps and schedule."""
LEAST_SHARE = 0.01
"""Least share of the draws in a cell: 128 of the 12,800 of 200 steps of 64.

Ten even levels have 0.1 each.
"""


class RecordedDraws:
    """The draws of a level source, with a record of their levels."""

    def __init__(self, drawn: Any) -> None:
        self._drawn = drawn
        self._levels: list[Tensor] = []

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Sequence[Tensor]:
        """Return the source's draws, of which the first are the levels [batch]."""
        found: Sequence[Tensor] = self._drawn.draws(shape, generator)
        self.record(found[0])
        return found

    def record(self, levels: Tensor) -> None:
        """Record levels [n] that were trained on without a draw."""
        self._levels.append(levels.double())

    def covered(self, grid: np.ndarray) -> list[dict[str, float]]:
        """Return `sigma` and the `share` of the draws for each level of a grid [N + 1] but the last.

        A network is not evaluated at the last level, where a trajectory ends.
        """
        drawn = torch.cat(self._levels).numpy() if self._levels else np.empty(0)
        found = zip(grid[:-1], shares(drawn, grid), strict=True)
        return [{"sigma": float(sigma), "share": float(share)} for sigma, share in found]


def shares(drawn: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the share of drawn levels [n] in the cell of each level but the last of a falling grid [N + 1]: [N].

    A cell ends at the geometric means with both neighbours; that of the first level extends as far
    up as down.
    """
    logs = np.log(grid)
    between = (logs[1:] + logs[:-1]) / 2
    edges = np.concatenate([[2 * logs[0] - between[0]], between])
    counts, _ = np.histogram(np.log(drawn), bins=edges[::-1])
    return counts[::-1] / max(len(drawn), 1)


def thin(covered: Sequence[dict[str, float]], least: float = LEAST_SHARE) -> list[float]:
    """Return the levels whose cells hold less than the least share of the draws."""
    return [level["sigma"] for level in covered if level["share"] < least]


def usual_grid(context: PrepareContext) -> np.ndarray:
    """Return the levels of STEPS steps of EDM's grid between the data set's ends, float64 [STEPS + 1]."""
    return EDM().levels(STEPS, context.sigma_min, context.sigma_max)
