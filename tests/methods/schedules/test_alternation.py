"""Phases in turn: what is kept, what is undone, and when it ends (spec of the few-step sampler, 2.7 and 7.3, 11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from methods.schedules.few_step_alternation import Alternated, Weights, alternate

START = np.array([80.0, 1.0, 0.002])


class Toy:
    """Phase 1 halves the middle level, phase 2 adds 1 to the weights; the metric of each pair is the next of a list."""

    def __init__(self, metrics: Sequence[float], scribbles: bool = False) -> None:
        self.metrics, self.scribbles = iter(metrics), scribbles
        self.calls: list[str] = []

    def phase_1(self, weights: Weights) -> np.ndarray:
        self.calls.append("levels")
        assert weights is not None
        self.spoil(weights)
        return START * [1, 0.5 ** self.calls.count("levels"), 1]

    def phase_2(self, weights: Weights, levels: np.ndarray) -> Weights:
        self.calls.append("weights")
        assert weights is not None
        made = {"w": weights["w"] + 1}
        self.spoil(weights, levels)
        return made

    def metric(self, weights: Weights, levels: np.ndarray) -> float:
        self.calls.append("metric")
        self.spoil(weights, levels)
        return next(self.metrics)

    def spoil(self, weights: Weights, levels: np.ndarray | None = None) -> None:
        """Overwrite what was given, as a careless phase would."""
        if self.scribbles and weights is not None:
            weights["w"].fill_(-1)
            if levels is not None:
                levels[:] = math.nan

    def run(self, rounds: int) -> Alternated:
        start = {"w": torch.zeros(2)}
        return alternate(START, start, self.phase_1, self.phase_2, self.metric, rounds)


def weight(found: Alternated) -> list[float]:
    assert found.weights is not None
    return found.weights["w"].tolist()


def test_phases_take_turns_for_the_rounds_asked_for_and_each_is_measured() -> None:
    toy = Toy([9, 8, 7, 6, 5, 4, 3])
    found = toy.run(3)
    assert toy.calls == ["metric", *("levels", "metric", "weights", "metric") * 3]
    assert [p.metric for p in found.phases] == [9, 8, 7, 6, 5, 4, 3]
    assert [p.made for p in found.phases] == ["start", *("levels", "weights") * 3]
    assert all(p.kept for p in found.phases)
    assert [p.levels[1] for p in found.phases] == [1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert found.metric == 3
    assert found.levels.tolist() == [80.0, 0.125, 0.002]
    assert weight(found) == [3, 3]


def test_no_rounds_measure_the_start_and_keep_it() -> None:
    toy = Toy([5])
    found = toy.run(0)
    assert toy.calls == ["metric"]
    assert found.levels.tolist() == START.tolist()
    assert len(found.phases) == 1


@pytest.mark.parametrize("scribbles", [False, True])
@pytest.mark.parametrize("bad", [7.0, 7.5, math.nan, math.inf])
def test_tuning_that_is_no_better_is_undone_to_the_bit_and_the_levels_stay(bad: float, scribbles: bool) -> None:
    """Equal is not better, and neither is what is no number, whatever the phases do to what they are given."""
    toy = Toy([9, 7, bad], scribbles=scribbles)
    found = toy.run(5)
    assert toy.calls.count("weights") == 1  # it is the last
    assert [p.kept for p in found.phases] == [True, True, False]
    assert found.metric == 7
    assert found.levels.tobytes() == (START * [1, 0.5, 1]).tobytes()
    assert weight(found) == [0, 0]


@pytest.mark.parametrize("bad", [9.0, math.nan])
def test_levels_that_are_no_better_are_undone_and_the_tuning_is_at_the_ones_before(bad: float) -> None:
    found = Toy([9, bad, 5, 6, 4]).run(2)
    assert [p.kept for p in found.phases] == [True, False, True, False, True]
    assert found.levels.tobytes() == START.tobytes()
    assert [p.levels[1] for p in found.phases] == [1, 0.5, 1, 0.25, 1]
    assert weight(found) == [2, 2]
    assert found.metric == 4


def test_where_nothing_is_better_the_start_comes_back() -> None:
    found = Toy([3, 4, 4]).run(2)
    assert found.levels.tobytes() == START.tobytes()
    assert weight(found) == [0, 0]
    untouched = alternate(START, None, lambda w: START / 2, lambda w, s: {}, lambda w, s: float(w is not None), 2)
    assert untouched.weights is None


def test_the_best_so_far_never_rises_whatever_the_metric() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        found = Toy(generator.normal(size=13).tolist()).run(6)
        kept = [p.metric for p in found.phases if p.kept]
        assert all(later < earlier for earlier, later in pairwise(kept))
        assert found.metric == kept[-1] == min(p.metric for p in found.phases)
        tunings = [p.kept for p in found.phases if p.made == "weights"]
        assert all(tunings[:-1])


def test_a_start_without_a_metric_is_an_error_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="the metric of the starting schedule is nan, expected a finite number"):
        Toy([math.nan]).run(2)
