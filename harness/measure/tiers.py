"""How often a clock must be read before its reading counts: the tiers, and the statistics of repetitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tier:
    """Least rounds and seconds of one timing block (both kinds, trial and clock together); bounds of its warm-up.

    Each kind of call is warmed up for at least `warm_up_calls` and `warm_up_seconds`, then until two windows of three
    calls agree within 2 % or `warm_up_most` calls are made.
    """

    rounds: int
    seconds: float
    warm_up_calls: int
    warm_up_seconds: float
    warm_up_most: int


TIERS = {
    "smoke": Tier(rounds=6, seconds=0.0, warm_up_calls=1, warm_up_seconds=0.0, warm_up_most=1),
    "quick": Tier(rounds=11, seconds=2.0, warm_up_calls=3, warm_up_seconds=0.0, warm_up_most=3),
    "paper": Tier(rounds=64, seconds=60.0, warm_up_calls=3, warm_up_seconds=5.0, warm_up_most=1000),
}


def steady(seconds: list[float]) -> bool:
    """Return whether the medians of the last two windows of three calls differ by less than 2 %."""
    if len(seconds) < 6:
        return False
    before, after = float(np.median(seconds[-6:-3])), float(np.median(seconds[-3:]))
    return abs(after - before) < 0.02 * before


def median_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Return the distribution-free 95 % interval of the median from order statistics, or None below six values.

    The interval [x_(k), x_(n+1-k)] covers the median with probability 1 - 2 P(B(n, 1/2) < k) (David and Nagaraja 2003).
    """
    from scipy.stats import binom

    n = len(values)
    if n < 6:
        return None
    k = int(binom.ppf(0.025, n, 0.5))
    ordered = np.sort(values)
    return float(ordered[k - 1]), float(ordered[n - k])


def ratio_interval(ratios: np.ndarray, seed: int = 0, draws: int = 2000) -> tuple[float, float, float]:
    """Return the median of per-pair ratios with its 95 % bootstrap interval over rounds (seeded)."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(ratios), size=(draws, len(ratios)))
    medians = np.median(ratios[picks], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(ratios)), float(low), float(high)
