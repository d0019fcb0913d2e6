"""Scoring: torch-fidelity's figures from streamed shards, equal bytes however shards are cut, and honest gaps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch_fidelity

import harness.metrics.feature_stream as feature_stream
from harness.data.cards import load_card
from harness.data.splits import load_split
from harness.metrics.extractors import load_extractor
from harness.metrics.quality import Quality, measure_quality
from harness.metrics.reference import ReferenceFeatures, reference_of, reference_of_shards
from harness.metrics.small_cnn import blur

Features = np.ndarray


class Images(torch.utils.data.Dataset):
    """What torch-fidelity takes: bare uint8 tensors of three channels."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images.repeat(1, 3, 1, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, np.ndarray]:
    split = load_split(load_card("digits"), "train")
    assert split.labels is not None
    order = np.random.default_rng(0).permutation(len(split.images))
    return torch.from_numpy(split.images[order]), split.labels[order]


def _features(images: torch.Tensor) -> Features:
    return load_extractor("digits-cnn")(images).numpy()


def _cut(features: Features, size: int) -> list[tuple[int, Features]]:
    return [(i, features[i : i + size]) for i in range(0, len(features), size)]


def _score(generated: Features, reference: Features, size: int = 100, **options: int) -> Quality:
    return measure_quality(_cut(generated, size), reference_of(reference), len(generated), **options)


def _simulated(seed: int, n: int, d: int = 8) -> Features:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_reproduces_calculate_metrics(digits: tuple[torch.Tensor, np.ndarray]) -> None:
    a, b = digits[0][:750], digits[0][750:]
    noisy = (a + 30 * torch.randn(a.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 255).round().byte()
    ours = _score(_features(noisy), _features(b))
    theirs = torch_fidelity.calculate_metrics(
        input1=Images(noisy), input2=Images(b), feature_extractor="digits-cnn", fid=True, kid=True, prc=True,
        kid_subsets=1, kid_subset_size=750, cuda=False, cache=False, save_cpu_ram=True, verbose=False, batch_size=512,
    )  # fmt: skip
    assert ours.figures["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)
    assert ours.figures["kid"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)  # theirs is float32
    assert ours.figures["precision"] == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours.figures["recall"] == pytest.approx(theirs["recall"], abs=1e-6)


def test_every_fault_shows_above_the_floor(digits: tuple[torch.Tensor, np.ndarray]) -> None:
    images, labels = digits
    a, b = images[:750], _features(images[750:])
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(0))
    clean = _score(_features(a), b)
    assert clean.figures["fid"] == pytest.approx(clean.figures["fid_floor"], rel=0.3)  # halves: 4 b / N
    noisy = [_score(_features((a + sd * noise).clamp(0, 255).round().byte()), b).figures["fid"] for sd in (20, 40, 80)]
    assert clean.figures["fid"] * 1.5 < noisy[0] < noisy[1] < noisy[2]
    soft = _score(_features(blur(a.float(), torch.full((750, 1, 1, 1), 0.3)).round().byte()), b)
    dropped = _score(_features(a[torch.from_numpy(labels[:750] != 3)]), b)
    one = _score(_features(a[torch.from_numpy(labels[:750] == 3)].repeat(11, 1, 1, 1)[:750]), b)
    assert soft.figures["fid"] > 4 * clean.figures["fid"]
    assert dropped.figures["fid"] > 2 * clean.figures["fid"]
    assert one.figures["fid"] > 50 * clean.figures["fid"]
    assert one.figures["recall"] < 0.05 < one.figures["precision"]


def test_precision_is_the_share_of_generated_inside_the_reference_manifold() -> None:
    reference = _simulated(0, 400)
    inside = _score(0.3 * _simulated(1, 400), reference)
    assert inside.figures["precision"] > 0.95
    assert inside.figures["recall"] < 0.2


def test_shuffled_shards_sorted_and_cut_anew_give_identical_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_stream, "BLOCK", 13)
    generated, reference = _simulated(0, 403), reference_of(_simulated(1, 300))
    once = measure_quality(_cut(generated, 403), reference, 403)
    for size in (1, 7, 64):
        shards = _cut(generated, size)
        shuffled = [shards[i] for i in np.random.default_rng(0).permutation(len(shards))]
        assert measure_quality(sorted(shuffled, key=lambda shard: shard[0]), reference, 403) == once


def test_replicates_are_the_figures_without_a_group() -> None:
    generated, reference = _simulated(0, 200), _simulated(1, 300)
    whole = _score(generated, reference)
    assert len(whole.replicates) == 20
    rest = _score(np.delete(generated, np.s_[30:40], axis=0), reference)
    assert whole.replicates[3]["fid"] == pytest.approx(rest.figures["fid"], rel=1e-9)
    assert whole.replicates[3]["kid"] == pytest.approx(rest.figures["kid"], rel=1e-9)
    assert whole.figures["fid_low"] < whole.figures["fid"] < whole.figures["fid_high"]
    assert whole.figures["kid_se"] > 0
    assert whole.reasons == []


def test_kernel_figures_take_evenly_spaced_images_of_every_group() -> None:
    generated, reference = _simulated(0, 400), _simulated(1, 300)
    limited = _score(generated, reference, kernel_limit=100)
    direct = _score(np.ascontiguousarray(generated[::4]), reference)
    assert limited.figures["kid"] == pytest.approx(direct.figures["kid"], rel=1e-12)
    assert (
        limited.figures["precision"]
        == _score(np.ascontiguousarray(generated[::4]), reference[::3]).figures["precision"]
    )
    assert limited.figures["fid"] == pytest.approx(_score(generated, reference).figures["fid"], rel=1e-12)


def test_jackknife_error_of_fid_is_near_the_spread_over_seeds() -> None:
    reference = reference_of(_simulated(999, 4000, 4))
    drawn = [measure_quality([(0, 1.3 * _simulated(seed, 300, 4))], reference, 300) for seed in range(30)]
    spread = np.std([q.figures["fid"] for q in drawn], ddof=1)
    error = np.mean([(q.figures["fid_high"] - q.figures["fid_low"]) / 2 / 2.093 for q in drawn])
    assert 0.5 < error / spread < 2


@pytest.mark.parametrize(("n", "fid", "interval", "kid", "prc"), [
    (1, False, False, False, False), (3, False, False, True, False), (8, False, False, True, True),
    (20, True, False, True, True), (40, True, True, True, True),
])  # fmt: skip
def test_too_few_images_leave_gaps_with_reasons(n: int, fid: bool, interval: bool, kid: bool, prc: bool) -> None:
    found = _score(_simulated(0, n), _simulated(1, 50))
    assert ("fid" in found.figures) == fid
    assert ("fid_low" in found.figures) == interval == ("kid_se" in found.figures) == bool(found.replicates)
    assert ("kid" in found.figures) == kid
    assert ("precision" in found.figures) == prc
    assert bool(found.reasons) == (n < 40)


def test_a_reference_of_fewer_images_than_features_has_no_fid() -> None:
    found = _score(_simulated(0, 100), _simulated(1, 8))
    assert "fid" not in found.figures
    assert "8 reference images for 8 features" in found.reasons[0]


def test_features_that_are_not_finite_or_not_float32_are_refused() -> None:
    reference, generated = reference_of(_simulated(1, 50)), _simulated(0, 100)
    generated[42, 3] = np.nan
    with pytest.raises(ValueError, match="image 42 that is not finite"):
        measure_quality(_cut(generated, 30), reference, 100)
    with pytest.raises(ValueError, match="expected float32"):
        measure_quality([(0, _simulated(0, 100).astype(np.float64))], reference, 100)
    with pytest.raises(ValueError, match="the reference set has 8"):
        measure_quality([(0, _simulated(0, 100, 9))], reference, 100)


@pytest.mark.parametrize("order", [[0, 2], [1, 0, 2], [0, 0, 1, 2], [0, 1, 2, 3]])
def test_missing_repeated_or_unsorted_shards_are_refused(order: list[int]) -> None:
    shards = _cut(_simulated(0, 120), 30)
    with pytest.raises(ValueError, match="expected"):
        measure_quality([shards[i] for i in order], reference_of(_simulated(1, 50)), 90)


def test_a_reference_survives_its_tensors_and_streams_alike() -> None:
    features = _simulated(1, 250)
    built = reference_of(features, kernel_limit=100)
    streamed = reference_of_shards(_cut(features, 33), 250, kernel_limit=100)
    restored = ReferenceFeatures.from_tensors(built.to_tensors())
    assert (restored.n, restored.dim) == (250, 8)
    for other in (streamed.to_tensors(), restored.to_tensors()):
        for name, array in built.to_tensors().items():
            assert other[name].dtype == array.dtype
            np.testing.assert_array_equal(other[name], array)
