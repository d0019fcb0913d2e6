"""Columns of time, from the repetitions of the timing block that counts.

Where that block is disturbed, intervals are wider. Their bootstrap over rounds does not show that a long call is
preempted more often than a short one: the median of wall ratios itself is biased. Preemption does not enter own CPU
seconds. So each interval is then the hull of that of wall seconds and that of own CPU seconds. CPU seconds can stand
for wall seconds only in one thread of one process on a CPU; elsewhere the interval is that of wall seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from harness.specs.rules.bounds import EVALUATION_OVERHEAD
from harness.specs.time import Repetition, TimeOutput
from harness.stats import median_interval, ratio_interval

if TYPE_CHECKING:
    from harness.schema import Row


def time_columns(timing: TimeOutput) -> Row:
    """Return medians with their intervals, the paired ratios to the clock, and how the block was disturbed."""
    calls, block = _CountedCalls(timing), timing.blocks[timing.counted]
    batch = next(one.batch for one in timing.repetitions if one.kind == "throughput")

    # times of the trial and of the clock
    row: Row = {
        **calls.median_columns("latency{}_seconds", "latency", "trial"),
        "throughput_images_per_second": batch / calls.median("throughput", "trial"),
        "throughput_batch": batch,
        "clock_latency_seconds": calls.median("latency", "baseline"),
        "clock_seconds_per_image": calls.median("throughput", "baseline") / batch,
    }

    # ratios of pairs
    for name, over, under in (
        ("speedup", ("throughput", "baseline"), ("throughput", "trial")),
        ("latency_ratio", ("latency", "trial"), ("latency", "baseline")),
        ("clock_batch_ratio", ("throughput", "baseline"), ("latency", "baseline")),
    ):
        row |= calls.ratio_columns(name, over, under)

    # device, and how the tier's rules were met
    return row | {
        "decode_seconds_per_image": float(np.median(timing.decode_seconds)) / batch if timing.decode_seconds else None,
        **_cost_columns(timing),
        **gpu_columns(timing),
        "device_name": timing.device_name,
        "timed_alone": timing.alone,
        # the block that counts
        "timing_rounds": block.rounds,
        "timing_block_seconds": block.seconds,
        "timing_blocks": len(timing.blocks),
        "cpu_share": block.cpu_share,
        "disturbed": block.disturbed,
        "clock_trial_drift": block.clock_drift,
        **_warm_up_columns(timing),
        "threads": timing.threads,
        "usable_cores": timing.usable_cores,
    }


def _cost_columns(timing: TimeOutput) -> Row:
    """Return costs other than time, and the seconds that come before the first image: loading and compiling."""
    names = (
        "load_seconds", "compile_seconds", "peak_memory_bytes", "peak_reserved_bytes", "device_memory_bytes",
        "warm_up_memory_bytes", "energy_joules_per_image", "idle_watts",
    )  # fmt: skip
    return {name: getattr(timing, name) for name in names}


def _warm_up_columns(timing: TimeOutput) -> Row:
    """Return how long the warm-up was, and whether all kinds of call were steady when it ended."""
    judged = [one.is_steady for one in timing.warm_ups if one.is_steady is not None]
    return {
        "warm_up_calls": timing.warm_up_calls,
        "warm_up_seconds": sum(one.seconds for one in timing.warm_ups) if timing.warm_ups else None,
        "warm_up_steady": all(judged) if judged else None,
    }


def gpu_columns(timing: TimeOutput) -> Row:
    """Return the state of the GPU over the calls of the block that counts; all empty on a CPU."""
    block = timing.blocks[timing.counted]
    calls = [one for one in timing.repetitions if one.block == timing.counted]

    def known(name: str) -> list[float]:
        return [float(value) for one in calls if (value := getattr(one, name)) is not None]

    def over(name: str, summary: Callable[[list[float]], float]) -> float | None:
        return float(summary(known(name))) if known(name) else None

    return {
        "sm_clock_mhz": over("sm_clock_mhz", np.median),
        "temperature_celsius": over("temperature_celsius", max),
        "power_watts": over("power_watts", np.median),
        "power_limit_watts": timing.power_limit_watts,
        "power_capped_share": over("power_capped", np.mean),
        "throttled_share": block.throttled_share,
        # who else was there
        "foreign_check": timing.foreign_check or None,
        "foreign_share": block.foreign_share,
        "gpu_sharing": timing.gpu_sharing or None,
        "neighbours_load": over("neighbours_load", np.mean),
    }


def clock_over_alone(timing: TimeOutput, alone: TimeOutput) -> float:
    """Return the clock's seconds in a block over those in its own timing, with the node to itself: the larger kind."""
    here, there = _CountedCalls(timing), _CountedCalls(alone)
    kinds = ("latency", "throughput")
    return max(here.median(kind, "baseline") / there.median(kind, "baseline") for kind in kinds)


def speedup_over_serial(timing: TimeOutput) -> Row:
    """Return the paired speed-up over the serial executor and the virtual latency; nothing for a serial trial."""
    calls = _CountedCalls(timing)
    if not calls.has("latency", "serial"):
        return {}
    replayed = [one.virtual_latency_seconds for one in timing.virtual if one.is_real]
    return {
        "serial_latency_seconds": calls.median("latency", "serial"),
        **calls.ratio_columns("speedup_over_serial", ("latency", "serial"), ("latency", "trial")),
        "virtual_latency_seconds": replayed[0] if replayed else None,
    }


def batch_ratio(timing: TimeOutput) -> float:
    """Return the seconds of a call with a batch over those of a call with one image, the least of the counted block."""
    calls = _CountedCalls(timing)
    clock = _cpu_seconds if timing.own_cpu else _wall_seconds
    return calls.least("throughput", "trial", clock) / calls.least("latency", "trial", clock)


def new_images_ratio(timing: TimeOutput, nfe: float) -> float | None:
    """Return the seconds of calls with new images over the least ones of timed calls, the larger of both kinds.

    Timed calls count with a little more for each evaluation: those of a tiny network are shorter than a stutter.
    """
    if timing.looks is None:
        return None
    calls = _CountedCalls(timing)
    clock = _cpu_seconds if timing.own_cpu else _wall_seconds
    more = nfe * EVALUATION_OVERHEAD
    return max(
        seconds / (calls.least(kind, "trial", clock) + more) for kind, seconds in timing.looks.new_images.items()
    )


def time_over_units(timing: TimeOutput, flops_share: float, nfe: float) -> float | None:
    """Return the seconds of a batch over those that its evaluations and its decoding should take.

    These are those of the units that it runs, each by itself, and a little for each evaluation. Units may be small
    pieces, so they count at least as that share of the whole network's FLOPs: `flops_share` is what an image takes.
    """
    batches = [one for one in timing.work if one.kind == "throughput"]
    if not batches or timing.looks is None:
        return None
    images = sum(one.images * one.calls for one in batches)
    units = timing.looks.units
    runs = {unit: sum(one.work.units.get(unit, 0) * one.calls for one in batches) for unit in units}
    by_units = sum(count / images * units[unit] for unit, count in runs.items())
    evaluations = max(by_units, flops_share * timing.looks.network) + nfe * EVALUATION_OVERHEAD
    expected = evaluations + timing.looks.decoder
    return timing.looks.new_images["throughput"] / expected if expected > 0 else None


class _CountedCalls:
    """The calls of the block that counts, by kind and role."""

    def __init__(self, timing: TimeOutput) -> None:
        self._calls = [one for one in timing.repetitions if one.block == timing.counted]
        self._by_cpu = bool(timing.blocks[timing.counted].disturbed) and timing.own_cpu

    def has(self, kind: str, role: str) -> bool:
        """Return whether there are such calls."""
        return any((one.kind, one.role) == (kind, role) for one in self._calls)

    def median(self, kind: str, role: str) -> float:
        """Return their median wall seconds."""
        return float(np.median(self._seconds(kind, role, _wall_seconds)))

    def least(self, kind: str, role: str, clock: Callable[[Repetition], float]) -> float:
        """Return their least seconds by a clock."""
        return float(np.min(self._seconds(kind, role, clock)))

    def median_columns(self, name: str, kind: str, role: str) -> Row:
        """Return the median and its interval; `name` has a place for the ends."""
        intervals = [median_interval(self._seconds(kind, role, clock)) for clock in self._clocks()]
        known = [found for found in intervals if found is not None]
        return {
            name.format(""): self.median(kind, role),
            name.format("_low"): min((low for low, _ in known), default=None),
            name.format("_high"): max((high for _, high in known), default=None),
        }

    def ratio_columns(self, name: str, over: tuple[str, str], under: tuple[str, str]) -> Row:
        """Return the median ratio over rounds of calls of one kind and role to those of another, with its interval."""
        found = [ratio_interval(self._seconds(*over, clock) / self._seconds(*under, clock)) for clock in self._clocks()]
        return {
            name: found[0][0],
            f"{name}_low": min(low for _, low, _ in found),
            f"{name}_high": max(high for _, _, high in found),
        }

    def _clocks(self) -> list[Callable[[Repetition], float]]:
        """Return what counts as seconds; wall seconds come first."""
        return [_wall_seconds, _cpu_seconds] if self._by_cpu else [_wall_seconds]

    def _seconds(self, kind: str, role: str, clock: Callable[[Repetition], float]) -> np.ndarray:
        """Return the seconds of the calls of a kind and role, float64 [rounds]."""
        return np.array([clock(one) for one in self._calls if (one.kind, one.role) == (kind, role)], np.float64)


def _wall_seconds(call: Repetition) -> float:
    return call.seconds


def _cpu_seconds(call: Repetition) -> float:
    """Return own CPU seconds; wall seconds where they are not known, or too few for their counter."""
    return call.process_seconds or call.seconds
