"""Intervals of repetitions: order statistics as in the textbook, paired ratios."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from harness.specs.rules.timing import TIERS
from harness.stats import median_interval, ratio_interval


@pytest.mark.parametrize(("n", "low", "high"), [(6, 1, 6), (10, 2, 9), (20, 6, 15), (30, 10, 21)])
def test_interval_of_the_median_is_the_textbooks_pair_of_order_statistics(n: int, low: int, high: int) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    assert median_interval(values) == (low, high)


@pytest.mark.parametrize("n", range(6, 80))
def test_interval_of_the_median_covers_95_percent_and_no_narrower_one_does(n: int) -> None:
    found = median_interval(np.arange(1.0, n + 1))
    assert found is not None
    rank = int(found[0])
    assert found[1] == n + 1 - rank
    assert 1 - 2 * binom.cdf(rank - 1, n, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(rank, n, 0.5) < 0.95


@pytest.mark.parametrize("n", range(6))
def test_fewer_than_six_values_have_no_interval(n: int) -> None:
    assert median_interval(np.ones(n)) is None


@pytest.mark.parametrize("rounds", [tier.rounds for name, tier in TIERS.items() if name != "smoke"])
@pytest.mark.parametrize("tails", [math.inf, 3.0])
def test_ratio_interval_covers_the_true_ratio_about_as_often_as_it_says(rounds: int, tails: float) -> None:
    """Logarithms of ratios are normal, or Student's t of three degrees of freedom, as where some calls are slow."""
    rng, hits, tries = np.random.default_rng(3), 0, 400
    for _ in range(tries):
        noise = rng.normal(size=rounds) if math.isinf(tails) else rng.standard_t(tails, size=rounds)
        _, low, high = ratio_interval(np.exp(np.log(1.7) + 0.1 * noise), draws=400)
        hits += low <= 1.7 <= high
    assert 0.91 <= hits / tries <= 0.99


def test_ratio_interval_is_the_median_of_pairs_and_the_same_every_time() -> None:
    ratios = np.array([2.0, 1.0, 4.0, 2.5, 1.5, 3.0, 2.0])
    assert ratio_interval(ratios) == ratio_interval(ratios)
    middle, low, high = ratio_interval(ratios)
    assert middle == 2.0
    assert low <= middle <= high


def test_equal_pairs_have_an_interval_of_no_width() -> None:
    assert ratio_interval(np.full(6, 1.25)) == (1.25, 1.25, 1.25)
