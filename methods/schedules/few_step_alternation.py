"""Two phases in turn, levels and then weights, as long as the metric improves.

The alternation of Huang 2024 (arXiv:2412.10786), of which only the abstract was available. Phase 1
chooses the levels for the weights, phase 2 tunes the weights at the levels. Ours: each phase must
lower the metric, and when to stop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

Weights = Mapping[str, Tensor] | None
"""Weights by name; None stands for the network's own."""


@dataclass(frozen=True)
class Phase:
    """Result of a phase: levels float64 [N + 1] with their metric (lower is better), and whether it was kept."""

    made: Literal["start", "levels", "weights"]
    levels: np.ndarray
    metric: float
    kept: bool


@dataclass(frozen=True)
class Alternated:
    """The best levels with their weights and metric, and every phase, the start first."""

    levels: np.ndarray
    weights: Weights
    metric: float
    phases: tuple[Phase, ...]


def alternate(
    start_levels: np.ndarray,
    start_weights: Weights,
    phase_1: Callable[[Weights], np.ndarray],
    phase_2: Callable[[Weights, np.ndarray], Weights],
    metric: Callable[[Weights, np.ndarray], float],
    rounds: int,
) -> Alternated:
    """Return the best of at most `rounds` rounds from a start; the metric never rises.

    A phase that does not lower the metric is undone, to the bit. Levels of phase 1 stay when phase
    2 is undone, and that round is the last. Phases get copies, so they may change their tensors.
    Raises ValueError if the metric of the start is not finite.
    """
    # start
    levels, weights = _copied(start_levels), _cloned(start_weights)
    best = metric(_cloned(weights), _copied(levels))
    if not math.isfinite(best):
        raise ValueError(f"the metric of the starting schedule is {best}, expected a finite number; check the network")
    history = [Phase("start", _copied(levels), best, True)]

    def keep_if_better(made: Literal["levels", "weights"], new_weights: Weights, new_levels: np.ndarray) -> bool:
        nonlocal levels, weights, best
        found = metric(_cloned(new_weights), _copied(new_levels))
        history.append(Phase(made, _copied(new_levels), found, found < best))
        if found < best:
            levels, weights, best = new_levels, new_weights, found
        return history[-1].kept

    for _ in range(rounds):
        keep_if_better("levels", weights, _copied(phase_1(_cloned(weights))))
        if not keep_if_better("weights", _cloned(phase_2(_cloned(weights), _copied(levels))), levels):
            break
    return Alternated(levels, weights, best, tuple(history))


def _copied(levels: np.ndarray) -> np.ndarray:
    return np.array(levels, dtype=np.float64)


def _cloned(weights: Weights) -> Weights:
    return None if weights is None else {name: value.clone() for name, value in weights.items()}
