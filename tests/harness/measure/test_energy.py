"""Energy per image over a window of work, and power at rest; a counter may fail at its second reading."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from kit.fake_nvml import GPU

from harness.measure import energy
from harness.measure.device import EnergyMeter
from harness.measure.energy import energy_per_image, energy_window, idle_watts, measure_idle_watts


class Meter(EnergyMeter):
    """Gives these readings."""

    def __init__(self, *readings: float | None) -> None:
        self._readings: Iterable[float | None] = iter(readings)

    def joules(self) -> float | None:
        return next(self._readings)  # type: ignore[call-overload]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let time pass by calls alone."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def work(clock: list[float], seconds: float = 3.0, images: int = 50) -> Any:
    def call() -> int:
        clock[0] += seconds
        return images

    return call


def test_energy_is_read_over_the_whole_window_and_all_its_images(clock: list[float]) -> None:
    assert energy_per_image(work(clock), Meter(1000.0, 3000.0), 10.0) == 2000 / 200  # four calls of three seconds
    assert energy_per_image(work(clock), Meter(0.0, 100.0), 0.0) == 2.0  # one call at least


@pytest.mark.parametrize("readings", [(None,), (5.0, None)])
def test_without_a_counter_at_either_end_there_is_no_energy(clock: list[float], readings: tuple[Any, ...]) -> None:
    assert energy_per_image(work(clock), Meter(*readings), 10.0) is None
    assert measure_idle_watts(Meter(*readings), 10.0) is None


def test_idle_power_is_what_the_device_takes_while_nothing_is_called() -> None:
    assert measure_idle_watts(Meter(50.0, 800.0), 10.0) == 75.0


def test_a_gpus_window_is_ten_seconds_and_its_idle_power_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert energy_window(GPU) >= 10.0
    assert energy_window(torch.device("cpu")) == energy.CPU_ENERGY_SECONDS
    monkeypatch.setattr(energy, "EnergyMeter", lambda device: Meter(0.0, 900.0))
    idle_watts.cache_clear()
    try:
        assert [idle_watts(GPU), idle_watts(GPU)] == [90.0, 90.0]
    finally:
        idle_watts.cache_clear()
