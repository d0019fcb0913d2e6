"""Streaming moments agree with two passes, in any order, at any offset."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from harness.metrics.moments import Moments, merge_all


def _shards(offset: float = 0.0, n: int = 5000, d: int = 16, count: int = 37) -> list[np.ndarray]:
    features = np.random.default_rng(0).normal(size=(n, d)) @ np.random.default_rng(1).normal(size=(d, d)) + offset
    return np.array_split(features, count)


@pytest.mark.parametrize("offset", [0.0, 10.0, 1000.0, 1e5])
def test_merged_covariance_equals_two_passes_at_any_offset(offset: float) -> None:
    shards = _shards(offset)
    merged = merge_all([Moments.of(shard) for shard in shards])
    expected = np.cov(np.concatenate(shards) - offset, rowvar=False)
    assert np.abs(merged.covariance() - expected).max() < 1e-11 * np.abs(expected).max()
    assert merged.n == 5000


def test_any_order_agrees_closely_and_index_order_gives_equal_bytes() -> None:
    parts = [(i, Moments.of(shard)) for i, shard in enumerate(_shards(1000.0))]
    shuffled = [parts[i] for i in np.random.default_rng(2).permutation(len(parts))]
    in_order, any_order = merge_all([m for _, m in parts]), merge_all([m for _, m in shuffled])
    np.testing.assert_allclose(any_order.m2, in_order.m2, rtol=1e-9, atol=1e-6)
    again = merge_all([m for _, m in sorted(shuffled, key=lambda part: part[0])])
    assert again.m2.tobytes() == in_order.m2.tobytes()
    assert again.mean.tobytes() == in_order.mean.tobytes()


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_without_is_the_inverse_of_merge(offset: float) -> None:
    parts = [Moments.of(shard) for shard in _shards(offset, count=20)]
    rest = merge_all(parts).without(parts[3])
    expected = merge_all(parts[:3] + parts[4:])
    assert rest.n == expected.n
    np.testing.assert_allclose(rest.mean, expected.mean, rtol=1e-13)
    assert np.abs(rest.m2 - expected.m2).max() < 1e-11 * np.abs(expected.m2).max()


def test_merging_in_pairs_and_all_at_once_agree() -> None:
    parts = [Moments.of(shard) for shard in _shards(1000.0)]
    paired, at_once = reduce(Moments.merge, parts), merge_all(parts)
    np.testing.assert_allclose(at_once.mean, paired.mean, rtol=1e-14)
    assert np.abs(at_once.m2 - paired.m2).max() < 1e-12 * np.abs(paired.m2).max()


def test_m2_is_exactly_symmetric_after_merges() -> None:
    m2 = merge_all([Moments.of(shard) for shard in _shards(3.0)]).m2
    assert np.array_equal(m2, m2.T)


def test_features_are_left_alone() -> None:
    features = _shards(1.0)[0]
    before = features.copy()
    Moments.of(features)
    assert np.array_equal(features, before)


def test_too_few_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        Moments.of(np.empty((0, 4)))
    one = Moments.of(np.ones((1, 4)))
    with pytest.raises(ValueError, match="at least 2"):
        one.covariance()
    with pytest.raises(ValueError, match="at least one must stay"):
        one.without(one)
    with pytest.raises(ValueError, match="at least one part"):
        merge_all([])
