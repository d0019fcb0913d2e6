"""Copies are found among coded features as among the features themselves."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.authenticity import Neighbours, nearness
from harness.metrics.principal_codes import DIRECTIONS, PrincipalCodes
from harness.metrics.reference import ReferenceFeatures, reference_of

D = 48


def drawn(n: int, seed: int) -> np.ndarray:
    """Features whose spread falls along their directions, as that of a network does."""
    widths = 4 * 0.85 ** np.arange(D)
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))
    return (np.random.default_rng(seed).normal(size=(n, D)) * widths @ turned + 3).astype(np.float32)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return drawn(2000, 1)


@pytest.fixture(scope="module")
def codes(features: np.ndarray) -> PrincipalCodes:
    return PrincipalCodes.of(features, features.mean(0).astype(float), np.cov(features.T.astype(float)))


def test_directions_are_those_of_the_widest_spread(features: np.ndarray, codes: PrincipalCodes) -> None:
    assert codes.directions.shape == (DIRECTIONS, D)
    assert np.allclose(codes.directions @ codes.directions.T, np.eye(DIRECTIONS), atol=1e-5)
    along = ((features - codes.centre) @ codes.directions.T).var(axis=0)
    assert np.all(np.diff(along) <= 1e-3)
    assert np.abs(codes.codes * codes.steps - (features - codes.centre) @ codes.directions.T).max() <= codes.steps.max()


@pytest.mark.parametrize(("share", "noise"), [(0.0, 0.0), (0.2, 0.0), (0.2, 0.02), (1.0, 0.05)])
def test_the_share_of_copies_is_that_by_the_features(
    share: float, noise: float, features: np.ndarray, codes: PrincipalCodes
) -> None:
    made = drawn(500, 7)
    copies = int(share * len(made))
    made[:copies] = features[:copies] + noise * np.random.default_rng(3).normal(size=(copies, D)).astype(np.float32)
    exact, found = nearness(made, features, Neighbours.of(features)), codes.nearness(made)
    assert abs(found[0] - exact[0]) <= 0.01
    assert found[0] >= share
    assert abs(found[1] - exact[1]) <= 0.08


def test_a_set_larger_than_what_is_kept_is_searched_whole(features: np.ndarray) -> None:
    whole = reference_of(features, kernel_limit=200)
    assert whole.codes is not None
    again = ReferenceFeatures.from_tensors(whole.to_tensors())
    copied = features[[index for index in range(1000, 1100) if index % 10]]  # none of the 200 that are kept
    assert again.nearness(copied) == (1.0, 0.0, 2000)
    kept = reference_of(features, kernel_limit=200, copy_limit=200)
    assert kept.codes is None
    assert kept.nearness(copied)[0] < 0.1  # type: ignore[index]


def test_a_direction_without_spread_is_coded_as_nothing() -> None:
    flat = np.zeros((200, 3), np.float32)
    flat[:, 0] = np.linspace(0, 1, 200)
    found = PrincipalCodes.of(flat, flat.mean(0).astype(float), np.cov(flat.T.astype(float)))
    assert np.isfinite(found.codes * found.steps).all()
    assert found.nearness(flat)[0] == 1.0
