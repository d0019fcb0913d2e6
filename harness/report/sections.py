"""The report's smaller tables of text, from the stored rows."""

from __future__ import annotations

import math

from pandas import DataFrame, Series

from harness.report.analysis.derive import Analysis
from harness.report.analysis.method_lines import distinct_names
from harness.report.analysis.rows import is_valid, last_attempts
from harness.report.formats import DASH, Section, format_count, format_number
from harness.schema import METRICS, Metric

CALLS_FOR_P90 = 64
"""Calls that a 90th percentile needs: MLPerf's early stopping at 99 % confidence."""
PROVENANCE = (
    "suite", "dataset", "network", "device_name", "devices", "precision_dtype", "timing_tier", "timing_mode",
    "timed_alone", "torch_version", "harness_version", "git_sha", "git_dirty",
)  # fmt: skip


def verdict_table(analysis: Analysis) -> Section:
    """Return how many trials of each data set are VALID, INVALID and failed."""
    trials = analysis.trials
    valid, failed = is_valid(trials), trials["status"] == "failed"

    rows = []
    for dataset in sorted(trials["dataset"].unique()):
        here = trials["dataset"] == dataset
        counts = (here.sum(), (here & valid).sum(), (here & ~valid & ~failed).sum(), (here & failed).sum())
        rows.append((dataset or "unnamed", *(str(int(value)) for value in counts)))
    return Section(("Data set", "Trials", "VALID", "INVALID", "Failed"), rows)


def step_table(analysis: Analysis) -> Section:
    """Return per trial its steps, noise range, NFE, FLOPs and share of the network that ran."""
    rows = []
    for name, steps in _per_trial(analysis, analysis.tables["steps"]):
        share = steps["network_share"]
        rows.append((
            name, str(len(steps)), f"{_text(steps['sigma'].iloc[0])} to {_text(steps['sigma_next'].iloc[-1])}",
            _range(steps["nfe"]), _range(steps["flops_per_image"] / 1e9),
            f"{_text(share.iloc[0])} → {_text(share.iloc[-1])}", _text(share.mean()),
        ))  # fmt: skip
    headings = ("Trial", "Steps", "σ from and to", "NFE per step", "GFLOPs/image per step",
                "Network share, first → last", "Mean share")  # fmt: skip
    return Section(headings, rows)


def timing_table(analysis: Analysis) -> Section:
    """Return per trial and kind of call the fastest, the median and the slowest call.

    The 90th percentile is empty below `CALLS_FOR_P90` calls.
    """
    rows = []
    timings = analysis.tables["timings"]
    counted = timings["is_counted"] | timings["block"].isna()  # older tables have one block
    own = timings[(timings["role"] == "trial") & counted]
    for name, repetitions in _per_trial(analysis, own):
        for kind, calls in repetitions.groupby("kind", sort=True):
            # times of a call
            ms = calls["seconds"].dropna() * 1e3
            p90 = format_number(float(ms.quantile(0.9))) if len(ms) >= CALLS_FOR_P90 else DASH
            spread = (
                (format_number(ms.min()), format_number(ms.median()), p90, format_number(ms.max()))
                if len(ms)
                else (DASH,) * 4
            )

            # the line
            cpu = (calls["process_seconds"] / calls["seconds"]).median()
            batch = _text(calls["batch"].iloc[0])
            rows.append((name, str(kind), batch, str(len(ms)), *spread, _text(cpu)))
    headings = ("Trial", "Kind", "Batch", "Calls", "Fastest (ms)", "Median (ms)", "p90 (ms)", "Slowest (ms)",
                "CPU seconds per second")  # fmt: skip
    return Section(headings, rows)


def price_table(analysis: Analysis) -> Section:
    """Return per ranked row the cost of preparing, and figures that the leaderboard leaves out."""
    others = [metric for metric in METRICS.values() if metric.source == "features" and metric.name != "fid"]
    ranked = [row for one in analysis.classes for _, row in one.rows.iterrows()]
    names = distinct_names(DataFrame(ranked, columns=analysis.trials.columns).reset_index(drop=True))
    rows = []
    for name, row in zip(names, ranked, strict=True):
        rows.append((
            name, *(_metric_text(row, metric) for metric in others),
            _text(row["peak_memory_bytes"] / 2**20), _text(row["energy_joules_per_image"]),
            _text(row["network_time_share"]), _text(row["flops_critical_path_per_image"] / 1e9),
            _text(row["prepare_seconds"]), _text(row["prepare_flops"] / 1e9), row["weights"] or DASH,
        ))  # fmt: skip
    headings = ("Trial", *map(_metric_heading, others), "Peak memory (MiB)", "Energy (J/image)",
                "Network time share", "Critical path (GFLOPs/image)", "Preparation (device-s)",
                "Preparation (GFLOPs)", "Weights")  # fmt: skip
    return Section(headings, rows)


def _metric_heading(metric: Metric) -> str:
    """Return the metric's label and an arrow to the better side."""
    error = " ± SE" if metric.standard_error else ""
    return f"{metric.label}{error} {'↓' if metric.lower_is_better else '↑'}"


def _metric_text(row: Series, metric: Metric) -> str:
    if metric.standard_error is None or math.isnan(row[metric.name]):
        return _text(row[metric.name])
    return f"{_text(row[metric.name])} ± {_text(row[metric.standard_error])}"


def provenance_table(analysis: Analysis) -> Section:
    """Return the software, devices and commits of the rows, and the time of all trials."""
    trials = analysis.trials
    rows: list[tuple[str, ...]] = []

    for column in PROVENANCE:
        values = sorted({_plain(value) for value in trials[column]} - {""})
        rows.append((column, ", ".join(values) or DASH))

    stamps = sorted(stamp for stamp in trials["started_at"] if stamp)
    rows.append(("started_at", f"{stamps[0]} to {stamps[-1]}" if stamps else DASH))
    rows.append(("duration_seconds, all trials", _text(trials["duration_seconds"].sum())))
    return Section(("What", "Found in the rows"), rows)


def other_rows_table(trials: DataFrame) -> Section:
    """Return the trials of other plans with commit, time and verdict."""
    listed = last_attempts(trials).sort_values(["dataset", "network", "method", "steps", "trial_id"])
    names = distinct_names(listed)
    rows = [
        (name, row["dataset"], row["git_sha"][:12] or DASH, row["started_at"] or DASH, row["verdict"] or DASH)
        for name, (_, row) in zip(names, listed.iterrows(), strict=True)
    ]
    return Section(("Trial", "Data set", "Commit", "Started (UTC)", "Verdict"), rows)


def sample_grids(analysis: Analysis, samples: dict[str, str]) -> list[tuple[str, str]]:
    """Return (name, data URL) of the sample grids: ranked rows in their order, then others."""
    names = dict(zip(analysis.trials["trial_id"], distinct_names(analysis.trials), strict=True))
    ranked = [row["trial_id"] for one in analysis.classes for _, row in one.rows.iterrows()]
    shown = [(names[trial_id], samples[trial_id]) for trial_id in ranked if trial_id in samples]
    others = [row for _, row in analysis.invalid.iterrows() if row["trial_id"] in samples]
    return shown + [
        (f"{names[row['trial_id']]}: {row['verdict'] or 'no verdict'}", samples[row["trial_id"]]) for row in others
    ]


def _per_trial(analysis: Analysis, table: DataFrame) -> list[tuple[str, DataFrame]]:
    """Return (name, rows) per trial that has rows, by name."""
    trials = analysis.trials.sort_values(["dataset", "network", "method", "steps", "seed_set", "trial_id"])
    groups = dict(list(table.groupby("trial_id")))
    named = zip(distinct_names(trials), trials["trial_id"], strict=True)
    return [(name, groups[trial_id]) for name, trial_id in named if trial_id in groups]


def _plain(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else format_count(value)
    return str(value)


def _text(value: float) -> str:
    return DASH if math.isnan(value) else format_count(value) if abs(value) < 1e7 else format_number(value)


def _range(values: Series) -> str:
    low, high = values.min(), values.max()
    return _text(low) if low == high or math.isnan(low) else f"{_text(low)} to {_text(high)}"
