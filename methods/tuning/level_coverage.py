"""Whether a tuned network was shown the levels at which it is asked: the question of every method that tunes.

Of drawn levels it is said what share lies in the cell of each level of a grid, which ends half-way to its neighbours in
ln sigma. What is drawn thinly is learnt late or never, and a mean loss does not show it.
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
"""Of the grid that stands for a trial's where a preparation serves trials of any steps and schedule: EDM's."""
LEAST_SHARE = 0.01
"""Of the draws, in every cell: 128 of the 12,800 of 200 steps of 64. An even spread over ten levels gives 0.1."""


class Recorded:
    """Draws as those of `drawn`, a network or a stand-in for its draws, whose levels are kept."""

    def __init__(self, drawn: Any) -> None:
        self._drawn = drawn
        self._levels: list[Tensor] = []

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Sequence[Tensor]:
        """Return what the other draws, of which the first are the levels [batch]."""
        found: Sequence[Tensor] = self._drawn.draws(shape, generator)
        self.record(found[0])
        return found

    def record(self, levels: Tensor) -> None:
        """Keep levels [n] that were shown without a draw."""
        self._levels.append(levels.double())

    def covered(self, grid: np.ndarray) -> list[dict[str, float]]:
        """Return for each level of a grid [N + 1] at which a network is asked: `sigma`, and the `share` of the draws.

        The last level of the grid, where a trajectory ends, is not asked.
        """
        drawn = torch.cat(self._levels).numpy() if self._levels else np.empty(0)
        found = zip(grid[:-1], shares(drawn, grid), strict=True)
        return [{"sigma": float(sigma), "share": float(share)} for sigma, share in found]


def shares(drawn: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the share of drawn levels [n] in the cell of each but the last level of a falling grid [N + 1]: [N].

    A cell ends at the geometric means with both neighbours; that of the first level goes as far up as down.
    """
    logs = np.log(grid)
    between = (logs[1:] + logs[:-1]) / 2
    edges = np.concatenate([[2 * logs[0] - between[0]], between])
    counts, _ = np.histogram(np.log(drawn), bins=edges[::-1])
    return counts[::-1] / max(len(drawn), 1)


def thin(covered: Sequence[dict[str, float]], least: float = LEAST_SHARE) -> list[float]:
    """Return the levels whose cells hold less than a least share of the draws."""
    return [level["sigma"] for level in covered if level["share"] < least]


def usual_grid(context: PrepareContext) -> np.ndarray:
    """Return the levels of STEPS steps of EDM's grid between the data set's ends, float64 [STEPS + 1]."""
    return EDM().levels(STEPS, context.sigma_min, context.sigma_max)
