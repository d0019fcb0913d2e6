"""What unfolds below a trial: parameters, versions, reasons, samples, costs by step, controls, the command."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from pandas import DataFrame, Series

from harness.report.analysis.comparisons import Comparison
from harness.report.analysis.derive import Analysis
from harness.report.formats import format_count
from harness.report.tables.trial_facts import pair_texts, part_texts, rerun_command

VERSIONS = (
    "suite", "dataset", "device_name", "timing_tier", "timing_mode", "timed_alone", "precision_dtype",
    "torch_version", "harness_version", "git_sha", "git_dirty", "extractor", "extractor_sha256", "reference", "weights",
    "weights_sha256", "state_shape", "decoder", "decoder_sha256", "decode_batch",
)  # fmt: skip
"""Columns that many trials share: the page holds each combination of their values once."""
OWN = ("partner", "lpips_sha256",
       "trial_id", "attempt", "seed_sets", "trainings", "started_at", "images_sha256", "prepared", "returned",
       "timing_rounds", "timing_blocks", "disturbed", "copy_rate", "not_measured", "not_audited",
       "decode_seconds_per_image", "decode_flops_per_image", "load_seconds", "compile_seconds", "warm_up_steady",
       "differs_from_clock")  # fmt: skip


def trial_details(
    analysis: Analysis, pairs: Sequence[Comparison], rows: DataFrame, strips: Mapping[str, str]
) -> dict[str, Any]:
    """Return what unfolds below each trial, by its name on the page, and the versions that trials share.

    `rows` are those of `page_rows`; `strips` holds the address of a strip of sample pictures by trial_id.
    """
    versions: list[dict[str, str]] = []
    steps = dict(list(analysis.tables["steps"].groupby("trial_id")))
    baselines = _baselines(rows)
    controls = pair_texts(pairs, dict(zip(rows["trial_id"], rows["page_name"], strict=True)))

    found = {}
    for trial_id, row in rows.iterrows():
        shared = {column: text for column in VERSIONS if (text := _plain(row[column]))}
        if shared not in versions:
            versions.append(shared)
        beside = baselines(row) if trial_id in strips else ""

        # by the keys that the page reads
        found[row["page_name"]] = {
            "command": rerun_command(row), "parameters": [list(one) for one in part_texts(row)],
            "versions": versions.index(shared),
            "own": {column: text for column in OWN if column in row and (text := _plain(row[column]))},
            "reasons": row["reasons"], "strip": strips.get(str(trial_id), ""),
            "baseline": rows["page_name"].get(beside, "") if beside in strips else "",
            "steps": _steps(steps.get(str(trial_id))),
            "controls": [list(astuple(one)) for one in controls.get(str(trial_id), [])],
        }  # fmt: skip
    return {"versions": versions, "trials": found}


def _steps(steps: DataFrame | None) -> dict[str, list[float | None]]:
    """Return the costs by step, four digits each; empty where none were stored."""
    if steps is None or steps.empty:
        return {}
    columns = {"sigma": 1.0, "nfe": 1.0, "network_share": 1.0, "flops_per_image": 1e-9}
    return {name: [_short(value * unit) for value in steps[name]] for name, unit in columns.items()}


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


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _plain(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else format_count(value)
    return str(value)
