"""Precision and recall without a group of images, against a computation of each anew."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.precision_recall import precision_recall_figures
from harness.metrics.quality import measure_quality
from harness.metrics.reference import reference_of
from harness.metrics.scored_features import ScoredFeatures
from harness.specs.rules.quality import NEIGHBOURS

GROUPS = 20


def drawn(n: int, seed: int, spread: float = 1.0) -> np.ndarray:
    return (spread * np.random.default_rng(seed).normal(size=(n, 3))).astype(np.float32)


def plain(generated: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Precision and recall by their definitions (Kynkaanniemi et al. 2019, equation 2)."""

    def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(a[:, None].astype(float) - b[None].astype(float), axis=2)

    def radii(a: np.ndarray) -> np.ndarray:
        return np.sort(apart(a, a), axis=1)[:, NEIGHBOURS]

    inside = (apart(generated, reference) <= radii(reference)).any(1)
    covered = (apart(reference, generated) <= radii(generated)).any(1)
    return float(inside.mean()), float(covered.mean())


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_replicates_are_those_of_leaving_a_group_out(spread: float) -> None:
    generated, reference = drawn(200, 1, spread), drawn(200, 2)
    scored = ScoredFeatures.collect([(0, generated)], reference_of(reference), 200, GROUPS, 10_000)
    found = precision_recall_figures(scored)
    assert (found.values["precision"], found.values["recall"]) == pytest.approx(plain(generated, reference))
    for group in range(GROUPS):
        rest = np.delete(generated, np.s_[group * 10 : group * 10 + 10], axis=0)
        without = (found.replicates["precision"][group], found.replicates["recall"][group])
        assert without == pytest.approx(plain(rest, reference)), group


def test_a_clustered_group_is_left_out_rightly() -> None:
    generated = drawn(200, 1)
    generated[:10] = 0.001 * generated[:10]  # each other's nearest
    scored = ScoredFeatures.collect([(0, generated)], reference_of(drawn(200, 2)), 200, GROUPS, 10_000)
    found = precision_recall_figures(scored)
    assert found.replicates["recall"][0] == pytest.approx(plain(generated[10:], drawn(200, 2))[1])


def test_the_interval_holds_the_value_in_most_draws() -> None:
    reference = reference_of(drawn(400, 0))
    limit = measure_quality([(0, drawn(4000, 99, 1.3)[:400])], reference, 400)
    inside = 0
    for seed in range(20):
        found = measure_quality([(0, drawn(400, seed + 10, 1.3))], reference, 400).figures
        assert 0 <= found["precision_low"] <= found["precision"] <= found["precision_high"] <= 1
        inside += found["precision_low"] <= limit.figures["precision"] <= found["precision_high"]
    assert inside >= 14


def test_few_images_have_no_interval() -> None:
    found = measure_quality([(0, drawn(30, 1))], reference_of(drawn(100, 2)), 30).figures
    assert "precision" in found
    assert "precision_low" not in found
