"""Rows whose steps overlap beside the serial row of the same steps: what the overlap bought, and what it cost.

The two stand in different resource classes where several devices worked, so they are compared here and never ranked
together. Times are medians of one image alone (batch 1), which is what such executors are for.
"""

from __future__ import annotations

import json
import math

from pandas import DataFrame, Series

from harness.report.analysis import Analysis
from harness.report.formats import DASH, interval, number
from harness.report.leaderboard import name_count
from harness.report.replicates import half_width, shared
from harness.report.sections import Section

HEADINGS = (
    "Trial", "Devices", "Refinements, mean (most)", "NFE", "NFE on the critical path", "Speculative NFE",
    "KiB sent per image", "FID minus that of the serial run", "Latency (ms)", "Device-ms per image",
    "Speed-up over serial", "Parallel efficiency",
)  # fmt: skip


def overlapped(analysis: Analysis) -> Section:
    """Return every valid row of another executor than the serial one; dashes where there is no serial twin."""
    everyone = DataFrame([row for one in analysis.classes for _, row in one.rows.iterrows()])
    found: list[tuple[str, ...]] = []
    for _, row in everyone.iterrows():
        if row["executor"] == "serial":
            continue
        twin = _twin(row, everyone)
        speedup = math.nan if twin is None else twin["latency_seconds"] / row["latency_seconds"]
        found.append((
            f"{row['method']}, {name_count(row['nfe'], row['steps'])}", f"{row['devices']:.0f}", _refinements(row),
            _text(row["nfe"]), _text(row["nfe_critical_path"]), _text(row["nfe_speculative"]),
            _text(row["bytes_sent_per_image"] / 1024), _difference(row, twin, analysis.replicates),
            _text(1e3 * row["latency_seconds"]), _text(1e3 * row["latency_seconds"] * row["devices"]),
            _text(speedup), _text(speedup / row["devices"]),
        ))  # fmt: skip
    return Section(HEADINGS, found)


def _twin(row: Series, rows: DataFrame) -> Series | None:
    """Return the serial row that is equal in everything but the executor and the devices, on the same device."""
    same = rows["executor"] == "serial"
    for column in ("suite", "dataset", "network", "steps", "batch", "precision_dtype", "n_images", "device_name"):
        same &= rows[column] == row[column]
    parts = _others(row["params_json"])
    for _, other in rows[same].iterrows():
        alike = all(other[part] == row[part] for part in ("denoiser", "schedule", "solver"))
        if alike and _others(other["params_json"]) == parts:
            return other
    return None


def _others(params: str) -> dict[str, object]:
    """Return the parameters of all parts but the executor."""
    return {part: values for part, values in json.loads(params or "{}").items() if part != "executor"}


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
