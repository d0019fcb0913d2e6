"""The kernel distance against torch-fidelity's and a direct formula; leaving a group out is computing without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

import harness.metrics.kernel_distance as kernel_distance
from harness.metrics.kernel_distance import kernel_sums, pair_mean
from harness.stats import group_bounds

D = 12


def _features(seed: int, n: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=(n, D)) + 0.5).astype(np.float32)


def _direct(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    xx, yy, xy = ((a @ b.T / D + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    m, n = len(x), len(y)
    return (xx.sum() - xx.trace()) / (m * (m - 1)) + (yy.sum() - yy.trace()) / (n * (n - 1)) - 2 * xy.mean()


def test_equals_torch_fidelity_with_one_subset_of_all_images() -> None:
    x, y = _features(0, 300, 1.2), _features(1, 300)
    theirs = kid_features_to_metric(
        torch.from_numpy(x).double(), torch.from_numpy(y).double(), kid_subsets=1, kid_subset_size=300, verbose=False
    )
    ours = kernel_sums(x, y, pair_mean(y), group_bounds(300, 20)).distance()
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-10)


def test_unequal_numbers_follow_the_direct_formula_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _features(0, 213, 1.2), _features(1, 150)
    whole = kernel_sums(x, y, pair_mean(y), group_bounds(213, 7)).distance()
    monkeypatch.setattr(kernel_distance, "ROWS", 16)
    blockwise = kernel_sums(x, y, pair_mean(y), group_bounds(213, 7)).distance()
    assert whole == pytest.approx(_direct(x, y), rel=1e-10)
    assert blockwise == pytest.approx(whole, rel=1e-10)


def test_leaving_a_group_out_equals_computing_without_it() -> None:
    x, y = _features(0, 103, 1.2), _features(1, 80)
    bounds = group_bounds(103, 5)
    sums = kernel_sums(x, y, pair_mean(y), bounds)
    for g in range(5):
        rest = np.delete(x, np.s_[bounds[g] : bounds[g + 1]], axis=0)
        assert sums.distance(leave_out=g) == pytest.approx(_direct(rest, y), rel=1e-9)


def test_unbiased_over_draws_of_one_distribution() -> None:
    y = [_features(1000 + seed, 100) for seed in range(60)]
    values = [kernel_sums(_features(seed, 100), y[seed], pair_mean(y[seed]), [0, 100]).distance() for seed in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(60)
    assert min(values) < 0
