"""Two phases in turn, levels and then weights, for as long as what they make gets better.

The alternation of Huang 2024 (arXiv 2412.10786; only its abstract was at hand): phase 1 chooses the levels for the
weights, phase 2 tunes the weights at the levels. When to stop, and the return to the last good round, are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

Weights = Mapping[str, Tensor] | None
"""Weights by name; None are those that the network came with."""


@dataclass(frozen=True)
class Round:
    """What a round made: levels float64 [N + 1], its metric (lower is better), and whether it was kept."""

    levels: np.ndarray
    metric: float
    kept: bool


@dataclass(frozen=True)
class Alternated:
    """The best levels with their weights and metric, and every round; round 0 is the start."""

    levels: np.ndarray
    weights: Weights
    metric: float
    rounds: tuple[Round, ...]


def alternate(
    start_levels: np.ndarray,
    start_weights: Weights,
    phase_1: Callable[[Weights], np.ndarray],
    phase_2: Callable[[Weights, np.ndarray], Weights],
    metric: Callable[[Weights, np.ndarray], float],
    rounds: int,
    still: float = 0.02,
) -> Alternated:
    """Return the best of at most `rounds` rounds from a start; the metric of what is kept only ever falls.

    A round that does not lower the metric is undone, to the bit, and is the last; so is one that moves no level by
    `still` in its logarithm. What a phase does to the tensors that it is given does not matter: they are copies.
    Raises ValueError if the metric of the start is not finite.
    """
    levels, weights = _copied(start_levels), _cloned(start_weights)
    best = metric(_cloned(weights), _copied(levels))
    if not math.isfinite(best):
        raise ValueError(f"the metric of the starting schedule is {best}, expected a finite number; check the network")
    history = [Round(_copied(levels), best, True)]
    for _ in range(rounds):
        new_levels = _copied(phase_1(_cloned(weights)))
        new_weights = _cloned(phase_2(_cloned(weights), _copied(new_levels)))
        found = metric(_cloned(new_weights), _copied(new_levels))
        history.append(Round(_copied(new_levels), found, found < best))
        if not history[-1].kept:
            break
        moved = float(np.abs(np.log(new_levels / levels)).max())
        levels, weights, best = new_levels, new_weights, found
        if moved < still:
            break
    return Alternated(levels, weights, best, tuple(history))


def _copied(levels: np.ndarray) -> np.ndarray:
    return np.array(levels, dtype=np.float64)


def _cloned(weights: Weights) -> Weights:
    return None if weights is None else {name: value.clone() for name, value in weights.items()}
