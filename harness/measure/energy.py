"""Energy of a device: what it takes while it works, per image, and while it rests, in watts.

Energy is that of the board or the processor's package, never that of the system.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch

from harness.measure.device import EnergyMeter
from harness.specs.rules.timing import CPU_ENERGY_SECONDS, CPU_IDLE_SECONDS, ENERGY_SECONDS, IDLE_SECONDS


def energy_window(device: torch.device) -> float:
    """Return the least seconds of work over which the energy of a device is read."""
    return ENERGY_SECONDS if device.type == "cuda" else CPU_ENERGY_SECONDS


def energy_per_image(make_images: Callable[[], int], meter: EnergyMeter, window: float) -> float | None:
    """Return joules per image of calls that make images and return how many, for `window` seconds at least.

    Idle power is part of it. None without a counter, or where it fails at one of its two readings.
    """
    before = meter.joules()
    if before is None:
        return None
    began, images = time.perf_counter(), 0
    while not images or time.perf_counter() - began < window:
        images += make_images()

    after = meter.joules()
    return None if after is None else (after - before) / images


def measure_idle_watts(meter: EnergyMeter, window: float) -> float | None:
    """Return the mean power of a device that nothing of this process uses, for which it blocks; None as above."""
    before = meter.joules()
    if before is None:
        return None
    began = time.perf_counter()
    time.sleep(window)
    after, seconds = meter.joules(), time.perf_counter() - began
    return None if after is None or seconds <= 0 else (after - before) / seconds


@cache
def idle_watts(device: torch.device) -> float | None:
    """Return the idle power of a device in watts, measured once in a process, before its first timing."""
    return measure_idle_watts(EnergyMeter(device), IDLE_SECONDS if device.type == "cuda" else CPU_IDLE_SECONDS)
