"""The price of each part of a run: trainings, preparations, sampling, timing, with ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import api
from harness.cli.plan_lines import plan_lines
from harness.planning.cost.part_prices import PartPrice, format_hours
from harness.planning.cost.wall_time import estimate_wall_time


def prices(folder: Path, suite: str = "cifar10", **options: Any) -> tuple[PartPrice, ...]:
    plan = api.plan(suite, **options)
    return estimate_wall_time(plan, (), folder).prices


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONECLOCK_DATA", raising=False)


def test_each_part_of_a_suite_for_gpus_has_gpu_hours_with_a_range(tmp_path: Path) -> None:
    found = {price.part: price for price in prices(tmp_path)}
    wanted = {"training unet-32", "training cunet-32", "preparing adadiff on uvit-s-2", "preparing ddsm on slim-32"}
    assert wanted | {"the reference", "sampling", "scores", "timing"} <= set(found)
    for price in found.values():
        assert price.device == "GPU"
        assert 0 < price.low < price.seconds < price.high

    # 200,000 steps of 512 images, forward and backward, of 12.4 GFLOPs at 90 TFLOP/s
    assert found["training unet-32"].seconds == pytest.approx(3 * 200_000 * 512 * 12.44e9 / 90e12, rel=0.5)


def test_a_part_is_the_sum_of_its_tasks(tmp_path: Path) -> None:
    """Twice the images take twice the sampling, and as much training."""
    only, sampled = "unet-32:ddim-*", []
    for n in (20_000, 40_000):
        found = prices(tmp_path, settings=[f"n_images={n}"], only=only)
        sampled.append({price.part: price.seconds for price in found})
    once, twice = sampled
    assert twice["sampling"] == pytest.approx(2 * once["sampling"], rel=0.01)
    assert twice["training unet-32"] == once["training unet-32"]


def test_a_run_of_minutes_has_no_prices(tmp_path: Path) -> None:
    assert prices(tmp_path, "quick", only="unet-16:ddim-5") == ()


def test_the_plan_prints_them(tmp_path: Path) -> None:
    lines = list(plan_lines("cifar10", None, None, "unet-32:ddim-10", None, tmp_path))
    priced = [line for line in lines if line.startswith("price: ")]
    assert any(line.endswith(" for training unet-32") and " GPU-hours (" in line for line in priced)
    assert any("GPU-hours are a guess from counted FLOPs at an assumed" in line for line in lines)


def test_hours_have_two_digits_or_so() -> None:
    assert [format_hours(3600 * hours) for hours in (0.0123, 0.5, 3.21, 12.4, 1234.5)] == [
        "0.01",
        "0.5",
        "3.2",
        "12",
        "1,234",
    ]
