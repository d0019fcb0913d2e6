"""Means, worst percentile, share of equal images and intervals of fidelity, on constructed errors."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from harness.metrics.fidelity import PAIR_METRICS, measure_fidelity
from harness.schema import METRICS

Pair = tuple[int, np.ndarray, np.ndarray]


def shifted(offsets: np.ndarray, side: int = 8, unit: int = 7) -> Iterator[Pair]:
    """Yield pairs of flat pictures that differ by these offsets, in units of so many."""
    for start in range(0, len(offsets), unit):
        own = offsets[start : start + unit].astype(np.uint8)[:, None, None, None] * np.ones(
            (1, 1, side, side), np.uint8
        )
        yield start, own, np.zeros_like(own)


def decibels(offsets: np.ndarray) -> np.ndarray:
    return 20 * np.log10(255 / offsets)


def test_every_declared_column_from_pairs_is_computed_and_no_other() -> None:
    declared = {name: metric for name, metric in METRICS.items() if metric.source == "pairs"}
    assert set(declared) == set(PAIR_METRICS)
    found = measure_fidelity(shifted(np.arange(1, 61), side=12), 60)
    known = {column.name for name in ("psnr", "ssim") for column in declared[name].columns}
    assert set(found.figures) == known
    assert all(set(one) == {"psnr", "ssim"} for one in found.replicates)
    assert len(found.replicates) == 20


def test_psnr_averages_decibels_over_images_that_differ() -> None:
    offsets = np.array([0, 1, 2, 4, 0, 8] * 10)
    found = measure_fidelity(shifted(offsets), 60).figures
    assert found["psnr"] == pytest.approx(decibels(offsets[offsets > 0]).mean(), rel=1e-12)
    assert found["identical_share"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("n", "place"), [(300, 3), (50, 1), (200, 2)])
def test_the_worst_percentile_is_that_of_the_worst_images(n: int, place: int) -> None:
    offsets = np.full(n, 2)
    offsets[[5, 17, 40]] = [200, 100, 50]  # worst, second, third
    found = measure_fidelity(shifted(offsets), n).figures
    assert found["psnr_worst_1pct"] == pytest.approx(decibels(np.array([200, 100, 50]))[place - 1], rel=1e-12)


def test_equal_images_have_no_psnr_and_say_so() -> None:
    found = measure_fidelity(shifted(np.zeros(50)), 50)
    assert found.figures == {"identical_share": 1.0}
    assert "no PSNR: all 50 images equal those without acceleration" in found.reasons


def test_few_differing_images_leave_no_worst_percentile() -> None:
    offsets = np.zeros(400)
    offsets[[0, 399]] = 3
    found = measure_fidelity(shifted(offsets), 400)
    assert "psnr_worst_1pct" not in found.figures
    assert found.figures["psnr"] == pytest.approx(decibels(np.array([3.0]))[0])
    assert any(reason.startswith("no worst percentile of PSNR") for reason in found.reasons)


def test_differing_images_of_one_group_leave_no_interval() -> None:
    offsets = np.zeros(100)
    offsets[:3] = 9
    found = measure_fidelity(shifted(offsets), 100)
    assert "psnr_low" not in found.figures
    assert all("psnr" not in one for one in found.replicates)
    assert any(reason.startswith("no interval of PSNR") for reason in found.reasons)


def test_ssim_needs_eleven_pixels_a_side() -> None:
    small = measure_fidelity(shifted(np.arange(1, 51), side=10), 50)
    assert "ssim" not in small.figures
    assert "no SSIM: pictures of 10 pixels a side are smaller than its window of 11" in small.reasons
    assert "ssim" in measure_fidelity(shifted(np.arange(1, 51), side=11), 50).figures


def test_lpips_needs_a_backbone() -> None:
    found = measure_fidelity(shifted(np.arange(1, 51)), 50)
    assert "lpips" not in found.figures
    assert any(reason.startswith("no LPIPS: ") for reason in found.reasons)


def test_replicates_leave_out_the_groups_of_fid() -> None:
    offsets = np.random.default_rng(1).integers(1, 30, 100)
    found = measure_fidelity(shifted(offsets), 100)
    for group, one in enumerate(found.replicates):
        kept = np.delete(offsets, np.arange(5 * group, 5 * group + 5))
        assert one["psnr"] == pytest.approx(decibels(kept).mean(), rel=1e-12)


def test_the_interval_covers_the_mean_of_the_distribution_that_images_are_drawn_from() -> None:
    rng, covered, levels = np.random.default_rng(2), 0, np.arange(1, 65)
    truth = decibels(levels).mean()
    for _ in range(200):
        found = measure_fidelity(shifted(rng.choice(levels, 200), side=1, unit=200), 200).figures
        covered += found["psnr_low"] <= truth <= found["psnr_high"]
    assert 180 <= covered <= 199  # 190 expected, standard deviation 3.1


def test_units_do_not_change_the_figures() -> None:
    offsets = np.random.default_rng(3).integers(0, 30, 90)
    one, other = (measure_fidelity(shifted(offsets, unit=unit), 90) for unit in (90, 11))
    assert one.figures == other.figures
    assert one.replicates == other.replicates


def test_missing_and_uneven_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="found 40 pairs of images; expected 50"):
        measure_fidelity(shifted(np.ones(40)), 50)
    with pytest.raises(ValueError, match="expected equal shapes from index 0"):
        measure_fidelity([(0, np.zeros((1, 1, 8, 8), np.uint8), np.zeros((1, 3, 8, 8), np.uint8))], 1)
    with pytest.raises(ValueError, match="from index 7"):
        measure_fidelity(list(shifted(np.ones(14)))[1:], 14)
    assert math.isfinite(measure_fidelity(shifted(np.ones(1)), 1).figures["psnr"])
