"""The stored tables as the analysis reads them: typed, last attempts alone, seed sets and trainings averaged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from harness.report.analysis.inference import parts_half_width, training_parts
from harness.report.analysis.replicates import half_width
from harness.schema import FLAG, REAL, TABLES, TEXT, TRIALS

# All that distinguishes two configurations but the seed set and the training; rows equal in these are averaged.
CONFIGURATION = (
    "suite", "dataset", "network", "method", "denoiser", "schedule", "solver", "executor", "params_json", "steps",
    "batch", "precision_dtype", "n_images", "extractor", "extractor_sha256", "reference", "reference_n", "devices",
    "device_name", "timing_tier", "timing_mode", "clock_trial_id", "is_baseline",
)  # fmt: skip
POSITIVE = frozenset((
    "steps", "nfe", "nfe_critical_path", "n_images", "reference_n", "latency_seconds", "latency_low_seconds",
    "latency_high_seconds", "throughput_images_per_second", "batch", "throughput_batch", "serial_latency_seconds",
    "speedup_over_serial", "speedup_over_serial_low", "speedup_over_serial_high", "virtual_latency_seconds", "speedup",
    "speedup_low", "speedup_high", "latency_ratio", "latency_ratio_low", "latency_ratio_high", "clock_latency_seconds",
    "clock_seconds_per_image", "clock_batch_ratio", "clock_batch_ratio_low", "clock_batch_ratio_high",
    "flops_per_image", "flops_critical_path_per_image", "parameters", "devices", "decode_seconds_per_image",
    "decode_flops_per_image",
))  # fmt: skip
"""Columns of `trials` whose numbers are counts, times and ratios: nothing measures 0 or less there."""
LARGEST = 1e100
"""The largest number that a table takes as measured, and its inverse the smallest of POSITIVE: squares stay finite."""
_NEEDED = ("steps", "n_images", "devices")
"""What a row must have to be named, and compared with others."""
_RATIOS = ("speedup", "latency_ratio")
"""Ratios of times whose intervals hold the differences between trainings that were timed apart."""


def typed_table(table: str, frame: DataFrame | None) -> DataFrame:
    """Return exactly the schema's columns, typed.

    Numbers are float64 (NaN is empty), text is str ("" is empty), flags are bool.
    A frame of None, or one without some column, counts as empty there.
    A number counts as not measured if it is not finite, is larger than LARGEST, or is none that a POSITIVE column of
    the trials can hold.
    """
    frame = DataFrame() if frame is None else frame
    typed_columns = {}

    for column in TABLES[table].columns:
        values = frame[column.name] if column.name in frame else pd.Series(np.nan, index=frame.index, dtype=object)
        if column.type == TEXT:
            typed_columns[column.name] = values.astype(object).where(values.notna(), "").map(str).astype(object)
        elif column.type == FLAG:
            typed_columns[column.name] = values.astype(object).where(values.notna(), False).astype(bool)
        else:
            numbers = pd.to_numeric(values, errors="coerce").astype("float64")
            measured = numbers.abs() <= LARGEST
            if table == "trials" and column.name in POSITIVE:
                measured &= numbers >= 1 / LARGEST
            typed_columns[column.name] = numbers.where(measured)

    if table == "trials":
        typed_columns["params_json"] = typed_columns["params_json"].map(_readable_parameters)
        typed_columns["timing_mode"] = typed_columns["timing_mode"].replace("", "reproducible")  # of older rows
    return DataFrame(typed_columns).reset_index(drop=True)


def _readable_parameters(text: str) -> str:
    """Return parameters as they are; of text that is no table of tables the hash, so that rows stay apart."""
    if not text:
        return text
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and all(isinstance(part, dict) for part in found.values()):
        return text
    return json.dumps({"unreadable": {"sha256": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()}})


def _refuse_constant(name: str) -> float:
    raise ValueError(f"found {name}; expected a finite number")


def last_attempts(trials: DataFrame) -> DataFrame:
    """Return one row per trial, that of its last attempt, in order of trial_id."""
    last = trials.sort_values(["trial_id", "attempt"], kind="stable").drop_duplicates("trial_id", keep="last")
    return last.reset_index(drop=True)


def rows_of_attempts(table: DataFrame, trials: DataFrame) -> DataFrame:
    """Return the rows of another table that belong to exactly the attempts in `trials`."""
    return table.merge(trials[["trial_id", "attempt"]], on=["trial_id", "attempt"])


def refuse_incomplete(trials: DataFrame) -> DataFrame:
    """Return trials in which a finished row is INVALID where the table lacks what every comparison needs."""
    lacking = trials[list(_NEEDED)].isna()
    found = lacking.any(axis=1) & (trials["status"] == "finished") & (trials["verdict"] == "VALID")
    names = [", ".join(lacking.columns[flags]) for flags in lacking[found].to_numpy()]
    trials = trials.copy()
    trials.loc[found, "reasons"] = [f"incomplete-row: the table has no {one} of it; measure it again" for one in names]
    trials.loc[found, "verdict"] = "INVALID"
    return trials


def is_valid(trials: DataFrame) -> pd.Series:
    """Return which rows may rank: finished, and VALID."""
    return (trials["status"] == "finished") & (trials["verdict"] == "VALID")


@dataclass(frozen=True)
class AveragedRows:
    """Rows with their seed sets and trainings averaged, and what they were averaged from."""

    rows: DataFrame
    """One row per configuration."""
    members: DataFrame
    """One row per configuration and training, seed sets averaged; `row_id` names the row that it is averaged into."""
    replicates: Mapping[str, DataFrame]
    """By metric: replicates of `rows`, the mean of their members': the noise of images alone."""
    member_replicates: Mapping[str, DataFrame]
    """By metric: replicates of `members`."""


def average_rows(trials: DataFrame, replicates: Mapping[str, DataFrame]) -> AveragedRows:
    """Return one row per configuration: seed sets are averaged within a training, then trainings.

    `replicates` holds those of each metric by trial.
    An empty training counts as training 0.
    """
    trials = trials.assign(training=trials["training"].fillna(0.0))
    members, member_replicates = average_seed_sets(trials, replicates)
    return _average_trainings(members, member_replicates)


def average_seed_sets(
    rows: DataFrame, replicates: Mapping[str, DataFrame]
) -> tuple[DataFrame, Mapping[str, DataFrame]]:
    """Return rows and replicates with the seed sets of each configuration and training averaged into one row.

    A figure is the mean over seed sets; its interval comes from the averaged replicates.
    Seed sets are independent, so a mean of replicates is a replicate of the mean.
    Ends of other intervals are averaged, never narrowed.
    The row keeps the trial_id of the clock if it is among them, else of the lowest seed set.
    `seed_sets` and `fid_by_seed_set` list what was averaged.
    """
    averaged, merged = [], _Merged(replicates)
    for group in _groups(rows, [*CONFIGURATION, "training"], "seed_set"):
        row = _average_row(group)
        seeds = group.sort_values("seed_set")
        row["seed_sets"] = ", ".join(f"{seed:.0f}" for seed in seeds["seed_set"] if seed == seed)
        row["fid_by_seed_set"] = _list_numbers(seeds["fid"])

        # intervals from the averaged replicates
        for name, known in merged.add(row["trial_id"], list(group["trial_id"])).items():
            if len(group) > 1 and known is not None and f"{name}_low" in row:
                width = half_width(known.mean(axis=0))
                row[f"{name}_low"], row[f"{name}_high"] = row[name] - width, row[name] + width
        averaged.append(row)

    table = DataFrame(averaged, columns=[*rows.columns, "seed_sets", "fid_by_seed_set"])
    return table, merged.tables()


def _average_trainings(members: DataFrame, replicates: Mapping[str, DataFrame]) -> AveragedRows:
    """Return rows with the trainings of each configuration averaged, under the trial_id of the first.

    Of two trainings or more, intervals of figures and of the network's limit are Student's t over trainings.
    Noise of images that the trainings share is added (harness.report.analysis.inference).
    """
    averaged, merged = [], _Merged(replicates)
    row_ids: dict[str, str] = {}
    for group in _groups(members, list(CONFIGURATION), "training"):
        row = _average_row(group)
        row["trainings"] = float(len(group))
        row["fid_by_training"] = _list_numbers(group.sort_values("training")["fid"])
        row["fid_by_seed_set"] = " | ".join(group.sort_values("training")["fid_by_seed_set"])
        row_ids |= dict.fromkeys(group["trial_id"], row["trial_id"])

        known = merged.add(row["trial_id"], list(group["trial_id"]))
        if len(group) > 1:
            row |= _intervals_over_trainings(row, group, known)
        averaged.append(row)

    table = DataFrame(averaged, columns=[*members.columns, "trainings", "fid_by_training"])
    members = members.assign(row_id=members["trial_id"].map(row_ids).astype(object))
    return AveragedRows(table, members, merged.tables(), replicates)


def _intervals_over_trainings(row: dict, group: DataFrame, known: Mapping[str, np.ndarray | None]) -> dict:
    """Return the ends of the row's intervals over its trainings (`group`), by column."""
    # figures
    changed: dict[str, float] = {}
    for name in (*known, "network_limit_fid"):
        if f"{name}_low" in row and not np.isnan(row[name]):
            width = parts_half_width(training_parts(group[name].to_numpy(), known.get(name)))
            changed |= {f"{name}_low": row[name] - width, f"{name}_high": row[name] + width}
    if "kid_se" in row and not np.isnan(row["kid"]):
        changed["kid_se"] = float(group["kid"].std(ddof=1) / np.sqrt(len(group)))

    # times that were taken per training, as where the work depends on the weights
    for name in _RATIOS:
        if name in group and group[name].nunique() > 1 and (group[[name, f"{name}_low"]] > 0).all(axis=None):
            width = parts_half_width(training_parts(np.log(group[name].to_numpy()), None))
            value, low, high = (np.log(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
            changed[f"{name}_low"] = float(np.exp(value - np.hypot(value - low, width)))
            changed[f"{name}_high"] = float(np.exp(value + np.hypot(high - value, width)))
    return changed


class _Merged:
    """Collects means of replicates [trials, groups] of every metric under the trial_id of their row."""

    def __init__(self, replicates: Mapping[str, DataFrame]) -> None:
        self._columns = {name: one.columns for name, one in replicates.items()}
        self._known = {
            name: dict(zip(one.index, one.to_numpy(dtype=np.float64), strict=True)) for name, one in replicates.items()
        }
        self._means: dict[str, dict[str, np.ndarray]] = {name: {} for name in replicates}

    def add(self, row_id: str, trial_ids: list[str]) -> dict[str, np.ndarray | None]:
        """Keep the mean under `row_id`; return by metric what was averaged, None below two common groups."""
        found: dict[str, np.ndarray | None] = {}
        for name, known in self._known.items():
            found[name] = None
            if not all(one in known for one in trial_ids):
                continue
            values = np.array([known[one] for one in trial_ids])
            common = np.isfinite(values).all(axis=0)
            if common.sum() > 1:
                found[name] = values[:, common]
                self._means[name][row_id] = np.where(common, values.mean(axis=0), np.nan)
        return found

    def tables(self) -> dict[str, DataFrame]:
        """Return the means by metric: a row per trial_id, a column per left-out group."""
        return {
            name: DataFrame.from_dict(one, orient="index", columns=self._columns[name], dtype="float64")
            for name, one in self._means.items()
        }


def _groups(rows: DataFrame, columns: list[str], order: str) -> list[DataFrame]:
    """Return the rows that are equal in the columns; in each group the clock first, then by `order`."""
    ordered = rows.assign(_clock=rows["trial_id"] != rows["clock_trial_id"])
    ordered = ordered.sort_values(["_clock", order, "trial_id"], kind="stable").drop(columns="_clock")
    return [group for _, group in ordered.groupby(columns, sort=True, dropna=False)]


def _average_row(members: DataFrame) -> dict:
    """Return the first member with every measured number averaged; NaN where one is missing."""
    row = members.iloc[0].to_dict()
    if len(members) > 1:
        for column in TRIALS.columns:
            if column.type == REAL:
                row[column.name] = members[column.name].mean(skipna=False)
    return row


def _list_numbers(values: Series) -> str:
    return ", ".join(f"{value:.6g}" for value in values if value == value)
