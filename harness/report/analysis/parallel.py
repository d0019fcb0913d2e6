"""Parallel executors and the serial run of the same steps: what was gained, and at what cost.

On several devices the two are in different resource classes.
So they are compared here and never ranked together.
Times are of one image alone (batch 1), the purpose of such executors; they are medians.
Latency and device-ms are the pooled ones, as in every other table.
Virtual over measured latency has the latency of the block itself below: both are of one block.
A speed-up is the median over pairs of one timing block, where the serial run was timed in it.
Virtual times are a model's, on devices of which some were not there.
They are labelled so, in a separate table.
"""

from __future__ import annotations

import math

from pandas import DataFrame, Series

from harness.report.analysis.alike import find_alike
from harness.report.analysis.derive import Analysis
from harness.report.analysis.limits import LIMIT_HEADING, limit_text
from harness.report.analysis.paired import TrainingFigures, training_figures
from harness.report.formats import DASH, Section, format_interval, format_number
from harness.schema.trial_name import trial_name

HEADINGS = (
    "Trial", "Devices", "Refinements, mean (most)", "Distance to the serial answer", "NFE",
    "NFE on the critical path", "Speculative NFE", "KiB sent per image", "FID minus that of the serial run",
    "Latency (ms)", "Device-ms per image", "Speed-up over serial", "Parallel efficiency", "Virtual / measured latency",
    LIMIT_HEADING,
)  # fmt: skip
VIRTUAL_HEADINGS = (
    "Trial, run on", "Virtual devices", "Refinements, mean", "Call (ms)", "Crowded call (ms)", "Hop (ms)",
    "Virtual latency (ms)", "Virtual speed-up over measured serial", "Measured latency (ms)",
    "Measured speed-up over serial",
)  # fmt: skip


def parallel_table(analysis: Analysis) -> Section:
    """Return every valid row of a parallel executor; dashes where the same serial run is missing."""
    everyone = DataFrame([row for one in analysis.classes for _, row in one.rows.iterrows()])
    figures = training_figures(analysis.members, analysis.member_replicates["fid"], "fid")
    found: list[tuple[str, ...]] = []

    for _, row in everyone.iterrows():
        if row["executor"] == "serial":
            continue
        serial = _find_serial_row(row, everyone)
        speedup, ends = _speedup(row, serial)
        latency = _pooled_latency(row)
        found.append((
            _name(row), f"{row['devices']:.0f}", _refinements(row), _text(row["distance_to_serial"]),
            _text(row["nfe"]), _text(row["nfe_critical_path"]), _text(row["nfe_speculative"]),
            _text(row["bytes_sent_per_image"] / 1024), _fid_difference(row, serial, figures),
            _text(1e3 * latency), _text(1e3 * latency * row["devices"]),
            f"{_text(speedup)} {ends}".strip(), _text(speedup / row["devices"]),
            _text(row["virtual_latency_seconds"] / row["latency_seconds"]), limit_text(row),
        ))  # fmt: skip
    return Section(HEADINGS, found)


def virtual_table(analysis: Analysis) -> Section:
    """Return the virtual times of every valid row that was replayed on other numbers of devices."""
    found: list[tuple[str, ...]] = []
    for one in analysis.classes:
        for _, row in one.rows.iterrows():
            replays = analysis.tables["virtual"][analysis.tables["virtual"]["trial_id"] == row["trial_id"]]
            if not replays["is_real"].all():
                found += [_replay_texts(row, replay) for _, replay in replays.iterrows()]
    return Section(VIRTUAL_HEADINGS, found)


def _replay_texts(row: Series, replay: Series) -> tuple[str, ...]:
    speedup = replay["serial_seconds"] / replay["virtual_latency_seconds"]
    return (
        f"{_name(row)} on {row['devices']:.0f}", f"{replay['devices']:.0f}", _text(replay["iterations"]),
        _text(1e3 * replay["call_seconds"]), _text(1e3 * replay["crowded_call_seconds"]),
        _text(1e3 * replay["hop_seconds"]), f"{_text(1e3 * replay['virtual_latency_seconds'])} virtual",
        f"{_text(speedup)} virtual", _text(1e3 * replay["measured_latency_seconds"]),
        _text(replay["serial_seconds"] / replay["measured_latency_seconds"]),
    )  # fmt: skip


def _speedup(row: Series, serial: Series | None) -> tuple[float, str]:
    """Return the measured speed-up and its interval: paired in one block, else of two rows' pooled medians."""
    if not math.isnan(row["speedup_over_serial"]):
        return row["speedup_over_serial"], format_interval(
            row["speedup_over_serial_low"], row["speedup_over_serial_high"]
        )
    return (math.nan if serial is None else _pooled_latency(serial) / _pooled_latency(row)), ""


def _pooled_latency(row: Series) -> float:
    """Return the latency that compares across blocks, in seconds; that of the row's own block where it has none."""
    pooled = row["pooled_latency_seconds"]
    return row["latency_seconds"] if math.isnan(pooled) else pooled


def _name(row: Series) -> str:
    return trial_name(row["network"], row["method"], row["steps"])


def _find_serial_row(row: Series, rows: DataFrame) -> Series | None:
    """Return the serial row that differs in the executor and the number of devices alone."""
    columns = ("suite", "dataset", "steps", "batch", "precision_dtype", "n_images", "device_name", "seed_sets")
    same = (rows["executor"] == "serial") & find_alike(rows, row, ("denoiser", "schedule", "solver"), columns)
    found = rows[same]
    return found.iloc[0] if len(found) else None


def _fid_difference(row: Series, serial: Series | None, figures: TrainingFigures) -> str:
    if serial is None:
        return DASH
    pair = figures.subtract(row["trial_id"], serial["trial_id"])
    ends = format_interval(pair.value - pair.half, pair.value + pair.half)
    return f"{_text(pair.value)} {ends}".strip()


def _refinements(row: Series) -> str:
    if math.isnan(row["iterations"]):
        return DASH
    return f"{format_number(row['iterations'])} ({row['iterations_most']:.0f})"


def _text(value: float) -> str:
    return DASH if math.isnan(value) else format_number(value)
