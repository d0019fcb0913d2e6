"""Columns of time, from the repetitions of one timing block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.specs.time import TimeOutput
from harness.stats import median_interval, ratio_interval

if TYPE_CHECKING:
    from harness.schema import Row


def time_columns(timing: TimeOutput) -> Row:
    """Return medians, their intervals and the paired speed-up over the clock."""
    alone, full = _seconds(timing, "latency", "trial"), _seconds(timing, "throughput", "trial")
    interval = median_interval(alone)
    speedup, low, high = ratio_interval(_seconds(timing, "throughput", "baseline") / full)
    batch = next(one.batch for one in timing.repetitions if one.kind == "throughput")

    # times
    row: Row = {
        "latency_seconds": float(np.median(alone)),
        "latency_low_seconds": interval[0] if interval else None,
        "latency_high_seconds": interval[1] if interval else None,
        "throughput_images_per_second": batch / float(np.median(full)),
        "speedup": speedup,
        "speedup_low": low,
        "speedup_high": high,
    }

    # device, and how the tier's rules were met
    return row | {
        "peak_memory_bytes": timing.peak_memory_bytes,
        "energy_joules_per_image": timing.energy_joules_per_image,
        "device_name": timing.device_name,
        "timing_rounds": timing.rounds,
        "timing_block_seconds": timing.block_seconds,
        "warm_up_calls": timing.warm_up_calls,
    }


def speedup_over_serial(timing: TimeOutput) -> Row:
    """Return the paired speed-up over the serial executor and the virtual latency; nothing for a serial trial."""
    serial = _seconds(timing, "latency", "serial")
    if not len(serial):
        return {}
    speedup, low, high = ratio_interval(serial / _seconds(timing, "latency", "trial"))
    replayed = [one.virtual_latency_seconds for one in timing.virtual if one.is_real]
    return {
        "serial_latency_seconds": float(np.median(serial)),
        "speedup_over_serial": speedup,
        "speedup_over_serial_low": low,
        "speedup_over_serial_high": high,
        "virtual_latency_seconds": replayed[0] if replayed else None,
    }


def _seconds(timing: TimeOutput, kind: str, role: str) -> np.ndarray:
    """Return the seconds of the calls of a kind and role, float64 [rounds]."""
    return np.array([one.seconds for one in timing.repetitions if (one.kind, one.role) == (kind, role)], np.float64)
