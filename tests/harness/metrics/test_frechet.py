"""The Frechet distance against closed forms and torch-fidelity's own path; the bias floor against simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from harness.metrics.frechet import ReferenceMoments, bias_floor, frechet_distance
from harness.metrics.moments import Moments

D = 24


def _features(seed: int, n: int = 2000) -> np.ndarray:
    mixing = np.random.default_rng(99).normal(size=(D, D))
    return np.maximum(np.random.default_rng(seed).normal(size=(n, D)) @ mixing, -1.0)


def _distance(generated: np.ndarray, reference: np.ndarray) -> float:
    return frechet_distance(ReferenceMoments.of(Moments.of(reference)), Moments.of(generated))


def test_a_set_is_at_no_distance_from_itself() -> None:
    features = _features(0)
    scale = Moments.of(features).covariance().trace()
    assert abs(_distance(features, features)) < 1e-9 * scale


def test_a_rotation_of_all_features_changes_nothing() -> None:
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(D, D)))[0]
    a, b = _features(0), 1.3 * _features(1)
    assert _distance(a @ rotation, b @ rotation) == pytest.approx(_distance(a, b), rel=1e-9)


def test_a_pure_shift_costs_its_squared_length() -> None:
    shift = np.linspace(-1, 1, D)
    assert _distance(_features(0) + shift, _features(0)) == pytest.approx(shift @ shift, rel=1e-9)


def test_diagonal_gaussians_match_the_closed_form() -> None:
    a, b = np.linspace(0.5, 3, D), np.linspace(2, 1, D)  # standard deviations
    mean = np.linspace(0, 2, D)
    n = 101
    reference = ReferenceMoments.of(Moments(n, np.zeros(D), np.diag(a**2) * (n - 1)))
    found = frechet_distance(reference, Moments(n, mean, np.diag(b**2) * (n - 1)))
    assert found == pytest.approx(((a - b) ** 2).sum() + mean @ mean, rel=1e-12)


@pytest.mark.parametrize("constant", [0, 5])
def test_equals_torch_fidelitys_own_path(constant: int) -> None:
    a, b = 1.1 * _features(0), _features(1)
    a[:, :constant] = b[:, :constant] = 0.25  # dead features: a singular covariance, the eigenvector factor
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert _distance(a, b) == pytest.approx(theirs, rel=1e-6)


def test_fewer_images_than_features_give_a_smaller_factor_and_the_same_value() -> None:
    a, b = _features(0), _features(1, n=10)
    reference = ReferenceMoments.of(Moments.of(b))
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(reference, Moments.of(a)) == pytest.approx(theirs, rel=1e-6)


def test_halves_of_the_reference_show_the_bias_floor_of_four_b_over_n() -> None:
    features = np.random.default_rng(3).normal(size=(4000, D)) @ np.random.default_rng(99).normal(size=(D, D))
    reference = ReferenceMoments.of(Moments.of(features))
    orders = [np.random.default_rng(seed).permutation(4000) for seed in range(10)]
    halves = np.mean([_distance(features[o[:2000]], features[o[2000:]]) for o in orders])
    assert bias_floor(reference, 2000, 2000) == pytest.approx(halves, rel=0.15)
    whole = bias_floor(reference, 4000, 10**12)  # b / N
    assert bias_floor(reference, 2000, 2000) == pytest.approx(4 * whole, rel=1e-6)


def test_the_floor_of_one_gaussian_feature_is_known() -> None:
    n = 11  # variance 4: b = 4 (mean) + 2 (standard deviation)
    reference = ReferenceMoments.of(Moments(n, np.zeros(1), np.full((1, 1), 4.0 * (n - 1))))
    assert bias_floor(reference, 100, 200) == pytest.approx(6 * (1 / 100 + 1 / 200), rel=1e-12)
