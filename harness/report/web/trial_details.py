"""What unfolds below a trial: parameters, versions, reasons, samples, costs by step, controls, the command."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pandas import DataFrame, Series

from harness.report.analysis.comparisons import CONTROL, Comparison
from harness.report.analysis.derive import Analysis
from harness.report.formats import DASH, format_count, format_interval, format_number
from harness.schema.trial_name import trial_name

PARTS = ("denoiser", "schedule", "solver", "executor")
VERSIONS = (
    "suite", "dataset", "device_name", "timing_tier", "precision_dtype", "torch_version", "harness_version", "git_sha",
    "git_dirty", "extractor", "extractor_sha256", "reference", "weights", "weights_sha256",
    "state_shape", "decoder", "decoder_sha256", "decode_batch",
)  # fmt: skip
"""Columns that many trials share: the page holds each combination of their values once."""
OWN = ("trial_id", "attempt", "seed_sets", "trainings", "started_at", "images_sha256", "prepared", "returned",
       "timing_rounds", "timing_blocks", "disturbed", "copy_rate", "not_measured", "not_audited",
       "decode_seconds_per_image", "decode_flops_per_image")  # fmt: skip


def trial_details(
    analysis: Analysis, pairs: Sequence[Comparison], rows: DataFrame, strips: Mapping[str, str]
) -> dict[str, Any]:
    """Return what unfolds below each trial, by its name on the page, and the versions that trials share.

    `rows` are those of `page_rows`; `strips` holds the address of a strip of sample pictures by trial_id.
    """
    versions: list[dict[str, str]] = []
    steps = dict(list(analysis.tables["steps"].groupby("trial_id")))
    baselines = _baselines(rows)
    controls = _controls(pairs, rows)

    found = {}
    for trial_id, row in rows.iterrows():
        shared = {column: text for column in VERSIONS if (text := _plain(row[column]))}
        if shared not in versions:
            versions.append(shared)
        beside = baselines(row) if trial_id in strips else ""
        found[row["page_name"]] = {
            "command": _command(row), "parameters": _parameters(row), "versions": versions.index(shared),
            "own": {column: text for column in OWN if column in row and (text := _plain(row[column]))},
            "reasons": row["reasons"], "strip": strips.get(str(trial_id), ""),
            "baseline": rows["page_name"].get(beside, "") if beside in strips else "",
            "steps": _steps(steps.get(str(trial_id))), "controls": controls.get(str(trial_id), []),
        }  # fmt: skip
    return {"versions": versions, "trials": found}


def _command(row: Series) -> str:
    """Return the command that runs the trial again, quoted for a shell."""
    name = trial_name(row["network"], row["method"], row["steps"])
    return f"oneclock run {shlex.quote(row['suite'] or 'SUITE')} --only {shlex.quote(name)}"


def _parameters(row: Series) -> list[list[str]]:
    """Return each part, its name and its parameters as one text."""
    try:
        known = json.loads(row["params_json"] or "{}")
    except ValueError:
        known = {}
    known = known if isinstance(known, dict) else {}

    found = []
    for part in PARTS:
        own = known.get(part)
        texts = [f"{name} = {_json_text(value)}" for name, value in own.items()] if isinstance(own, dict) else []
        found.append([part, row[part], ", ".join(texts)])
    return found


def _json_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _steps(steps: DataFrame | None) -> dict[str, list[float | None]]:
    """Return the costs by step, four digits each; empty where none were stored."""
    if steps is None or steps.empty:
        return {}
    columns = {"sigma": 1.0, "nfe": 1.0, "network_share": 1.0, "flops_per_image": 1e-9}
    return {name: [_short(value * unit) for value in steps[name]] for name, unit in columns.items()}


def _controls(pairs: Iterable[Comparison], rows: DataFrame) -> dict[str, list[list[str]]]:
    """Return by trial_id its comparisons with controls, as the claim or as the control."""
    names, found = rows["page_name"], dict[str, list[list[str]]]()
    for pair in pairs:
        claim, other = pair.row["trial_id"], pair.other["trial_id"]
        half = pair.difference_half
        fid = f"{_number(pair.difference)} {format_interval(pair.difference - half, pair.difference + half)}".strip()
        time = f"{_number(pair.time)} {format_interval(pair.time_low, pair.time_high)}".strip()
        finding = pair.verdict if pair.kind == CONTROL else pair.finding
        found.setdefault(claim, []).append([pair.kind, names[other], fid, time, finding])
        if pair.kind == CONTROL:
            found.setdefault(other, []).append(["is the control of", names[claim], fid, time, finding])
    return found


def _baselines(rows: DataFrame) -> Any:
    """Return a function from a row to the trial_id of the baseline's row of nearest NFE, empty where there is none."""
    points = rows[rows["is_baseline"] & rows["nfe"].notna() & (rows["nfe"] > 0)]

    def nearest(row: Series) -> str:
        own = points[points["dataset"] == row["dataset"]]
        if row["baseline_trial_id"] in own.index:
            return str(row["baseline_trial_id"])
        nfe = row["nfe"] if row["nfe"] > 0 else row["steps"]
        if own.empty or not nfe > 0:
            return ""
        return str((own["nfe"] / nfe).map(math.log).abs().idxmin())

    return nearest


def _number(value: float) -> str:
    return DASH if math.isnan(value) else format_number(value)


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _plain(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else format_count(value)
    return str(value)
