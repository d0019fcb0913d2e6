"""Rows whose steps overlap beside the serial run of the same steps: what the overlap bought, and what it cost.

The two stand in different resource classes where several devices worked, so they are compared here and never ranked
together. Times are of one image alone (batch 1), which is what such executors are for: medians, and for the speed-up
the median over pairs of one timing block, where the serial twin was timed in it. Virtual times are a model's, on
devices of which some were not there; they are labelled so and stand in a table of their own.
"""

from __future__ import annotations

import math

from pandas import DataFrame, Series

from harness.report.analysis.alike import alike
from harness.report.analysis.derive import Analysis
from harness.report.analysis.replicates import half_width, shared
from harness.report.formats import DASH, interval, number
from harness.report.leaderboard import name_count
from harness.report.sections import Section

HEADINGS = (
    "Trial", "Devices", "Refinements, mean (most)", "Distance to the serial answer", "NFE",
    "NFE on the critical path", "Speculative NFE", "KiB sent per image", "FID minus that of the serial run",
    "Latency (ms)", "Device-ms per image", "Speed-up over serial", "Parallel efficiency", "Virtual / measured latency",
)  # fmt: skip
VIRTUAL_HEADINGS = (
    "Trial, run on", "Virtual devices", "Refinements, mean", "Call (ms)", "Crowded call (ms)", "Hop (ms)",
    "Virtual latency (ms)", "Virtual speed-up over measured serial", "Measured latency (ms)",
    "Measured speed-up over serial",
)  # fmt: skip


def overlapped(analysis: Analysis) -> Section:
    """Return every valid row of another executor than the serial one; dashes where there is no serial twin."""
    everyone = DataFrame([row for one in analysis.classes for _, row in one.rows.iterrows()])
    found: list[tuple[str, ...]] = []
    for _, row in everyone.iterrows():
        if row["executor"] == "serial":
            continue
        twin = _twin(row, everyone)
        speedup, ends = _speedup(row, twin)
        found.append((
            _name(row), f"{row['devices']:.0f}", _refinements(row), _text(row["distance_to_serial"]),
            _text(row["nfe"]), _text(row["nfe_critical_path"]), _text(row["nfe_speculative"]),
            _text(row["bytes_sent_per_image"] / 1024), _difference(row, twin, analysis.replicates),
            _text(1e3 * row["latency_seconds"]), _text(1e3 * row["latency_seconds"] * row["devices"]),
            f"{_text(speedup)} {ends}".strip(), _text(speedup / row["devices"]),
            _text(row["virtual_latency_seconds"] / row["latency_seconds"]),
        ))  # fmt: skip
    return Section(HEADINGS, found)


def virtual(analysis: Analysis) -> Section:
    """Return the virtual times of every valid row that was replayed on other devices than its own, by devices."""
    found: list[tuple[str, ...]] = []
    for one in analysis.classes:
        for _, row in one.rows.iterrows():
            replays = analysis.virtual[analysis.virtual["trial_id"] == row["trial_id"]]
            if not replays["is_real"].all():
                found += [_replayed(row, replay) for _, replay in replays.iterrows()]
    return Section(VIRTUAL_HEADINGS, found)


def _replayed(row: Series, replay: Series) -> tuple[str, ...]:
    speedup = replay["serial_seconds"] / replay["virtual_latency_seconds"]
    return (
        f"{_name(row)} on {row['devices']:.0f}", f"{replay['devices']:.0f}", _text(replay["iterations"]),
        _text(1e3 * replay["call_seconds"]), _text(1e3 * replay["crowded_call_seconds"]),
        _text(1e3 * replay["hop_seconds"]), f"{_text(1e3 * replay['virtual_latency_seconds'])} virtual",
        f"{_text(speedup)} virtual", _text(1e3 * replay["measured_latency_seconds"]),
        _text(replay["serial_seconds"] / replay["measured_latency_seconds"]),
    )  # fmt: skip


def _speedup(row: Series, twin: Series | None) -> tuple[float, str]:
    """Return the measured speed-up with its interval: paired in one block where it was, else of two rows' medians."""
    if not math.isnan(row["speedup_over_serial"]):
        return row["speedup_over_serial"], interval(row["speedup_over_serial_low"], row["speedup_over_serial_high"])
    return (math.nan if twin is None else twin["latency_seconds"] / row["latency_seconds"]), ""


def _name(row: Series) -> str:
    return f"{row['method']}, {name_count(row['nfe'], row['steps'])}"


def _twin(row: Series, rows: DataFrame) -> Series | None:
    """Return the serial row that is equal in everything but the executor and the devices, on the same device."""
    columns = ("suite", "dataset", "steps", "batch", "precision_dtype", "n_images", "device_name", "seed_sets")
    same = (rows["executor"] == "serial") & alike(rows, row, ("denoiser", "schedule", "solver"), columns)
    found = rows[same]
    return found.iloc[0] if len(found) else None


def _difference(row: Series, twin: Series | None, replicates: DataFrame) -> str:
    if twin is None:
        return DASH
    value = row["fid"] - twin["fid"]
    pair = shared(replicates, [row["trial_id"], twin["trial_id"]])
    if pair is None:
        return number(value)
    half = half_width(pair[0] - pair[1])
    return f"{number(value)} {interval(value - half, value + half)}".strip()


def _refinements(row: Series) -> str:
    if math.isnan(row["iterations"]):
        return DASH
    return f"{number(row['iterations'])} ({row['iterations_most']:.0f})"


def _text(value: float) -> str:
    return DASH if math.isnan(value) else number(value)
