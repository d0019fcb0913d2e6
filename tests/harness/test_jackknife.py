"""Groups, standard errors and intervals: against formulas, and coverage on simulated Gaussians."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from harness.metrics.frechet import ReferenceMoments, frechet_distance
from harness.metrics.moments import Moments, merge_all
from harness.stats import group_bounds, group_of, interval, paired_difference, standard_error

D, N, K = 4, 400, 20


def _fid_and_replicates(features: np.ndarray, reference: ReferenceMoments) -> tuple[float, list[float]]:
    bounds = group_bounds(len(features), K)
    parts = [Moments.of(features[a:b]) for a, b in pairwise(bounds)]
    total = merge_all(parts)
    return frechet_distance(reference, total), [frechet_distance(reference, total.without(part)) for part in parts]


@pytest.fixture(scope="module")
def reference() -> ReferenceMoments:
    return ReferenceMoments.of(Moments(10**6, np.zeros(D), np.diag([1.0, 2.0, 3.0, 4.0]) * (10**6 - 1)))


def _generated(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, D)) * [1.2, 1.4, 1.5, 2.3] + 0.2


@pytest.mark.parametrize(("n", "groups"), [(400, 20), (403, 20), (7, 20), (50000, 20)])
def test_groups_are_contiguous_equal_and_match_their_bounds(n: int, groups: int) -> None:
    found = [group_of(i, n, groups) for i in range(n)]
    bounds = group_bounds(n, groups)
    assert found == sorted(found)
    assert [found.count(g) for g in range(groups)] == np.diff(bounds).tolist()
    assert np.ptp(np.diff(bounds)) <= 1


def test_an_index_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 0 to 9"):
        group_of(10, 10, 2)


def test_standard_error_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(size=K)
    left_out = [float(np.delete(values, i).mean()) for i in range(K)]
    assert standard_error(left_out) == pytest.approx(values.std(ddof=1) / np.sqrt(K), rel=1e-12)
    found = interval(float(values.mean()), left_out)
    assert found.high - found.value == pytest.approx(2.093 * found.standard_error, rel=1e-3)  # t(19), 97.5 %


def test_one_replicate_and_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        standard_error([1.0])
    with pytest.raises(ValueError, match="equal groups"):
        paired_difference(1.0, [1.0, 2.0], 1.0, [1.0, 2.0, 3.0])


def test_intervals_cover_and_errors_match_the_spread_over_seeds(reference: ReferenceMoments) -> None:
    drawn = [_fid_and_replicates(_generated(seed), reference) for seed in range(200)]
    values = np.array([value for value, _ in drawn])
    expected = values.mean()  # what the plain figure is about: its mean over other noise
    ends = [interval(value, replicates) for value, replicates in drawn]
    coverage = np.mean([e.low <= expected <= e.high for e in ends])
    assert 0.88 <= coverage <= 0.99
    assert 0.5 < np.mean([e.standard_error for e in ends]) / values.std(ddof=1) < 2


def test_pairing_by_noise_narrows_the_difference(reference: ReferenceMoments) -> None:
    paired, unpaired, errors = [], [], []
    for seed in range(60):
        a = _fid_and_replicates(_generated(seed), reference)
        b = _fid_and_replicates(1.05 * _generated(seed), reference)
        found = paired_difference(*a, *b)
        paired.append(found.value)
        errors.append(found.standard_error)
        unpaired.append(a[0] - _fid_and_replicates(1.05 * _generated(1000 + seed), reference)[0])
    assert np.std(paired) < 0.5 * np.std(unpaired)
    assert 0.5 < np.mean(errors) / np.std(paired, ddof=1) < 2


def test_two_replicates_are_enough() -> None:
    assert standard_error([1.0, 4.0]) == pytest.approx(1.5)  # sqrt(1/2 * 2 * 1.5^2)


def test_a_paired_difference_takes_the_replicates_of_both_sides_apart() -> None:
    found = paired_difference(3.0, [2.0, 5.0], 1.0, [1.0, 2.0])  # differences 1 and 3
    assert (found.value, found.standard_error) == (2.0, pytest.approx(1.0))


def test_intervals_of_paired_differences_cover(reference: ReferenceMoments) -> None:
    pairs = []
    for seed in range(200):
        features = _generated(seed)
        other = 1.05 * features + 0.05 * np.random.default_rng(5000 + seed).normal(size=features.shape)
        a, b = _fid_and_replicates(features, reference), _fid_and_replicates(other, reference)
        pairs.append(paired_difference(*a, *b))
    expected = np.mean([pair.value for pair in pairs])
    assert 0.9 <= np.mean([pair.low <= expected <= pair.high for pair in pairs]) <= 0.99
