"""The stored tables as the analysis reads them: typed, last attempts alone, seed sets averaged."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas import DataFrame

from harness.report.analysis.replicates import half_width
from harness.schema import FLAG, REAL, TABLES, TEXT, TRIALS

# All that distinguishes two configurations but the seed set; rows equal in these are averaged.
CONFIGURATION = (
    "suite", "dataset", "network", "method", "denoiser", "schedule", "solver", "executor", "params_json", "steps",
    "batch", "precision_dtype", "n_images", "extractor", "extractor_sha256", "reference", "reference_n", "devices",
    "device_name", "timing_tier", "clock_trial_id", "is_baseline",
)  # fmt: skip


def typed_table(table: str, frame: DataFrame | None) -> DataFrame:
    """Return exactly the schema's columns, typed.

    Numbers are float64 (NaN is empty), text is str ("" is empty), flags are bool.
    A frame of None, or one without some column, counts as empty there.
    An infinite number counts as not measured.
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
            typed_columns[column.name] = numbers.where(np.isfinite(numbers))
    return DataFrame(typed_columns).reset_index(drop=True)


def last_attempts(trials: DataFrame) -> DataFrame:
    """Return one row per trial, that of its last attempt, in order of trial_id."""
    last = trials.sort_values(["trial_id", "attempt"], kind="stable").drop_duplicates("trial_id", keep="last")
    return last.reset_index(drop=True)


def rows_of_attempts(table: DataFrame, trials: DataFrame) -> DataFrame:
    """Return the rows of another table that belong to exactly the attempts in `trials`."""
    return table.merge(trials[["trial_id", "attempt"]], on=["trial_id", "attempt"])


def is_valid(trials: DataFrame) -> pd.Series:
    """Return which rows may rank: finished, and VALID."""
    return (trials["status"] == "finished") & (trials["verdict"] == "VALID")


def average_seed_sets(rows: DataFrame, replicates: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Return rows and replicates with the seed sets of each configuration averaged into one row.

    FID is the mean over seed sets; its interval comes from the averaged replicates.
    Seed sets are independent, so a mean of replicates is a replicate of the mean.
    Ends of other intervals are averaged, never narrowed.
    The row keeps the trial_id of the clock if it is among them, else of the lowest seed set.
    `seed_sets` and `fid_by_seed_set` list what was averaged.
    """
    # the clock first, then by seed set
    rows = rows.assign(_clock=rows["trial_id"] != rows["clock_trial_id"])
    ordered = rows.sort_values(["_clock", "seed_set", "trial_id"], kind="stable").drop(columns="_clock")

    averaged, merged = [], {}
    for _, members in ordered.groupby(list(CONFIGURATION), sort=True, dropna=False):
        row = _average_row(members)

        # interval from the averaged replicates
        known = replicates.reindex(members["trial_id"]).dropna(axis=1)
        if known.shape[1] > 1:
            merged[row["trial_id"]] = known.mean(axis=0)
            if len(members) > 1:
                width = half_width(known.mean(axis=0).to_numpy())
                row["fid_low"], row["fid_high"] = row["fid"] - width, row["fid"] + width
        averaged.append(row)

    columns = [*rows.columns.drop("_clock"), "seed_sets", "fid_by_seed_set"]
    table = DataFrame(averaged, columns=columns)
    return table, DataFrame.from_dict(merged, orient="index", dtype="float64")


def _average_row(members: DataFrame) -> dict:
    """Return the first member with every measured number averaged; NaN where one is missing."""
    row = members.iloc[0].to_dict()
    if len(members) > 1:
        for column in TRIALS.columns:
            if column.type == REAL:
                row[column.name] = members[column.name].mean(skipna=False)

    seeds = members.sort_values("seed_set")
    row["seed_sets"] = ", ".join(f"{seed:.0f}" for seed in seeds["seed_set"] if seed == seed)
    row["fid_by_seed_set"] = ", ".join(f"{value:.6g}" for value in seeds["fid"] if value == value)
    return row
