"""Phases in turn: what is kept, what is undone, and when it ends (spec of the few-step sampler, 2.7 and 7.3, 11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from methods.alternation import Alternated, Weights, alternate

START = np.array([80.0, 1.0, 0.002])


class Toy:
    """Round r halves the middle level and makes the weight r; its metric is the r-th of a list."""

    def __init__(
        self, metrics: Sequence[float], factors: Sequence[float] = (0.5,) * 9, scribbles: bool = False
    ) -> None:
        self.metrics, self.factors, self.scribbles = metrics, factors, scribbles
        self.calls: list[str] = []
        self.round = 0

    def phase_1(self, weights: Weights) -> np.ndarray:
        self.calls.append("levels")
        assert weights is not None
        assert weights["w"].tolist() == [self.round, self.round]
        self.spoil(weights)
        return START * [1, math.prod(self.factors[: self.round + 1]), 1]

    def phase_2(self, weights: Weights, levels: np.ndarray) -> Weights:
        self.calls.append("weights")
        assert weights is not None
        assert weights["w"].tolist() == [self.round, self.round]
        self.round += 1
        made = {"w": torch.full((2,), float(self.round))}
        self.spoil(weights, levels)
        return made

    def metric(self, weights: Weights, levels: np.ndarray) -> float:
        self.calls.append("metric")
        assert weights is not None
        assert weights["w"].tolist() == [self.round, self.round]
        self.spoil(weights, levels)
        return self.metrics[self.round]

    def spoil(self, weights: Weights, levels: np.ndarray | None = None) -> None:
        """Overwrite what was given, as a careless phase would."""
        if self.scribbles and weights is not None:
            weights["w"].fill_(-1)
            if levels is not None:
                levels[:] = math.nan

    def run(self, rounds: int, still: float = 0.02) -> Alternated:
        start = {"w": torch.zeros(2)}
        return alternate(START, start, self.phase_1, self.phase_2, self.metric, rounds, still)


def weight(found: Alternated) -> list[float]:
    assert found.weights is not None
    return found.weights["w"].tolist()


def test_phases_take_turns_for_the_rounds_asked_for() -> None:
    toy = Toy([9, 7, 4, 3, 2])
    found = toy.run(3)
    assert toy.calls == ["metric", *("levels", "weights", "metric") * 3]
    assert [r.metric for r in found.rounds] == [9, 7, 4, 3]
    assert all(r.kept for r in found.rounds)
    assert [r.levels[1] for r in found.rounds] == [1, 0.5, 0.25, 0.125]
    assert found.metric == 3
    assert found.levels.tolist() == [80.0, 0.125, 0.002]
    assert weight(found) == [3, 3]


def test_no_rounds_measure_the_start_and_keep_it() -> None:
    toy = Toy([5])
    found = toy.run(0)
    assert toy.calls == ["metric"]
    assert found.levels.tolist() == START.tolist()
    assert len(found.rounds) == 1


@pytest.mark.parametrize("scribbles", [False, True])
@pytest.mark.parametrize("bad", [4.0, 4.5, math.nan, math.inf])
def test_a_round_that_is_no_better_is_undone_to_the_bit_and_is_the_last(bad: float, scribbles: bool) -> None:
    """Equal is not better, and neither is what is no number, whatever the phases do to what they are given."""
    good, toy = Toy([9, 7, 4], scribbles=scribbles).run(2), Toy([9, 7, 4, bad, 1], scribbles=scribbles)
    found = toy.run(5)
    assert toy.round == 3
    assert [r.kept for r in found.rounds] == [True, True, True, False]
    assert found.rounds[-1].levels[1] == 0.125
    assert found.metric == 4
    assert found.levels.tobytes() == good.levels.tobytes() == (START * [1, 0.25, 1]).tobytes()
    assert found.weights is not None
    assert good.weights is not None
    assert torch.equal(found.weights["w"], good.weights["w"])
    assert found.weights["w"].tolist() == [2, 2]


def test_a_first_round_that_is_no_better_gives_the_start_back() -> None:
    found = Toy([3, 4]).run(2)
    assert found.levels.tobytes() == START.tobytes()
    assert weight(found) == [0, 0]
    untouched = alternate(START, None, lambda w: START / 2, lambda w, s: {}, lambda w, s: float(w is not None), 2)
    assert untouched.weights is None


@pytest.mark.parametrize(("moves", "rounds"), [((0.5, 0.99), 2), ((0.5, 1 / 0.99), 2), ((0.99,), 1), ((0.97,) * 4, 4)])
def test_it_ends_when_no_level_moves(moves: tuple[float, ...], rounds: int) -> None:
    """By 2 % in the logarithm, either way; the round itself is kept, as it is better."""
    found = Toy([9, 8, 7, 6, 5], factors=moves).run(4)
    assert len(found.rounds) == 1 + rounds
    assert all(r.kept for r in found.rounds)
    assert found.metric == 9 - rounds


@pytest.mark.parametrize("far", [0, 1, 2])
def test_one_level_that_moves_far_is_enough_to_go_on(far: int) -> None:
    start = np.array([80.0, 8.0, 0.8])
    moved, values = start * np.where(np.arange(3) == far, 0.9, 1.0), iter([3.0, 2.0, 1.0])
    found = alternate(start, None, lambda w: moved, lambda w, s: {}, lambda w, s: next(values), 5)
    assert len(found.rounds) == 3  # the second moves nothing


def test_the_best_so_far_never_rises_whatever_the_metric() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        metrics = generator.normal(size=7).tolist()
        found = Toy(metrics).run(6)
        kept = [r.metric for r in found.rounds if r.kept]
        assert all(later < earlier for earlier, later in pairwise(kept))
        assert found.metric == kept[-1] == min(r.metric for r in found.rounds)
        assert all(r.kept for r in found.rounds[:-1])


def test_a_start_without_a_metric_is_an_error_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="the metric of the starting schedule is nan, expected a finite number"):
        Toy([math.nan]).run(2)
