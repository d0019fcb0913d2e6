"""Derives rankings and ratios from the stored tables, one table per resource class.

Rows share a class only if their quality figures and their times mean the same.
That is: equal data set, extractor, reference, N, device, number of devices, timing tier, mode and clock.
A class has one table, one ranking and one Pareto front.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from harness.report.analysis.claimed_figures import reproduced_notes
from harness.report.analysis.draws import FidDraws, draw_log_fids
from harness.report.analysis.equal_quality import equal_quality_columns
from harness.report.analysis.families import name_families
from harness.report.analysis.paired import training_figures
from harness.report.analysis.pareto import front_probabilities, pareto_front
from harness.report.analysis.ranking import tie_groups
from harness.report.analysis.replicates import replicate_table
from harness.report.analysis.rows import (
    AveragedRows,
    average_rows,
    is_valid,
    last_attempts,
    refuse_incomplete,
    rows_of_attempts,
    typed_table,
)
from harness.report.analysis.saved_work import time_yield
from harness.report.analysis.times import add_pooled_times
from harness.report.facts import ClaimFacts, MethodFacts
from harness.report.family_colors import order_families
from harness.schema import METRICS, TABLES

# Rows with one baseline curve; a class and its baseline may differ in the number of devices.
COMPARABLE = (
    "dataset", "extractor", "extractor_sha256", "reference", "reference_n", "n_images", "device_name", "timing_tier",
    "timing_mode", "clock_trial_id",
)  # fmt: skip
CLASS = (*COMPARABLE, "devices")

NOT_TIMED = "speed-up over the clock was not measured"
NO_FLOPS = "FLOPs were not counted, here or for the clock trial"
THE_CLOCK = "the clock trial itself"
NO_PREPARE = "the price of preparation was not measured"
NO_RATIO = "speed-up at equal quality is empty or only bounded, or throughput was not measured"
NO_VALID_BASELINE = "has no VALID row"
BASELINE_NOT_RUN = "was not run here (as with --only, which leaves it out)"
NEVER = "no time saved against the baseline at equal quality: never pays for itself"
GAIN_NOT_SHOWN = "the interval of the speed-up at equal quality shows no time saved, so no number of images is shown"


@dataclass(frozen=True)
class ResourceClass:
    """Rows that may be ranked together, and what they share.

    They stand by network, method and steps.
    """

    key: dict[str, str | float]
    rows: DataFrame
    floor: tuple[float, float]
    """The clock's speed-up interval against itself, drift included; NaN where not measured."""
    clock: Series | None
    baseline: DataFrame
    no_baseline: str = NO_VALID_BASELINE
    """Why there is no baseline, where there is none, to follow "the baseline"."""


@dataclass(frozen=True)
class Analysis:
    """The ranked classes, the rows that do not rank, and the tables with last attempts alone."""

    classes: tuple[ResourceClass, ...]
    invalid: DataFrame
    trials: DataFrame
    tables: Mapping[str, DataFrame]
    """Every other stored table by name, the rows of an attempt in the table's order."""
    replicates: Mapping[str, DataFrame]
    """By metric: the figure of each ranked row without each jackknife group; over trainings their mean."""
    members: DataFrame
    """The ranked rows per training; `row_id` is the trial_id of the ranked row."""
    member_replicates: Mapping[str, DataFrame]
    """By metric: the figure of each member without each jackknife group."""
    families: tuple[str, ...]
    """All families, those of methods without rows too, in the order in which they get colors."""
    facts: tuple[MethodFacts, ...]


def derive(
    tables: Mapping[str, DataFrame], facts: Sequence[MethodFacts] = (), claims: Sequence[ClaimFacts] = ()
) -> Analysis:
    """Return what follows from the stored tables, given by name; missing ones count as empty.

    `facts` are those of the methods and networks; they name the families of the rows.
    `claims` are published figures that were measured here; methods whose figures came out are marked.
    """
    # last attempts
    trials = refuse_incomplete(last_attempts(typed_table("trials", tables.get("trials"))))
    trials["family"] = name_families(trials, facts)
    trials["reproduced"] = reproduced_notes(trials, claims)
    others = {name: _last_rows(name, tables.get(name), trials) for name in TABLES if name != "trials"}
    valid = is_valid(trials)

    # seed sets and trainings averaged
    names = [metric.name for metric in METRICS.values() if metric.replicate is not None]
    averaged = average_rows(trials[valid], {name: replicate_table(others["quality"], name) for name in names})
    by_clock = [add_pooled_times(found) for _, found in averaged.rows.groupby(list(COMPARABLE), dropna=False)]
    rows = pd.concat(by_clock) if by_clock else add_pooled_times(averaged.rows)
    averaged = replace(averaged, rows=rows)

    # ranked classes, the largest on one device first
    tried = set(trials.loc[trials["is_baseline"].eq(True), "dataset"])
    classes = [_derive_class(found, averaged, tried) for _, found in rows.groupby(list(CLASS), dropna=False)]
    classes.sort(key=lambda one: (one.baseline.empty, one.key["devices"], -len(one.rows), str(list(one.key.values()))))

    return Analysis(
        classes=tuple(classes),
        invalid=trials[~valid].sort_values(["status", "method", "steps", "trial_id"], ignore_index=True),
        trials=trials,
        tables=others,
        replicates=averaged.replicates,
        members=averaged.members,
        member_replicates=averaged.member_replicates,
        families=order_families((one.family for one in facts), trials["family"]),
        facts=tuple(facts),
    )


def _last_rows(name: str, table: DataFrame | None, trials: DataFrame) -> DataFrame:
    """Return a table's rows of the last attempts, by trial and in the table's order."""
    rows = rows_of_attempts(typed_table(name, table), trials)
    return rows.sort_values(["trial_id", *TABLES[name].order], kind="stable", ignore_index=True)


def _derive_class(members: DataFrame, averaged: AveragedRows, tried: Collection[str]) -> ResourceClass:
    """Return a class; `tried` are the data sets whose baseline has any row, VALID or not."""
    # baseline's curve and clock
    rows = averaged.rows
    key = {str(name): value for name, value in members.iloc[:1][list(CLASS)].to_dict("records")[0].items()}
    comparable = rows[np.logical_and.reduce([_same(rows[name], key[name]) for name in COMPARABLE])]
    baseline = comparable[comparable["is_baseline"]].sort_values(["nfe", "trial_id"])
    clocks = comparable[comparable["trial_id"] == key["clock_trial_id"]]
    clock = clocks.iloc[0] if len(clocks) else None
    floor = (math.nan, math.nan)
    if clock is not None:
        floor = (1.0 / clock["relative_time_high"], 1.0 / clock["relative_time_low"])

    # what FIDs may truly be
    replicates = averaged.member_replicates["fid"]
    draws = draw_log_fids(comparable, averaged.members, replicates)
    figures = training_figures(averaged.members, replicates, "fid")

    # columns of one row each
    table = members.reset_index(drop=True)
    derived = DataFrame([_derive_row(row, baseline, clock, draws) for _, row in table.iterrows()])
    table = pd.concat([table, derived], axis=1)

    # columns that compare rows
    table["tie_group"] = tie_groups(table, figures)
    table["pareto_time"] = pareto_front(table["relative_time"].to_numpy(), table["fid"].to_numpy())
    table["pareto_flops"] = pareto_front(table["flops_per_image"].to_numpy(), table["fid"].to_numpy())
    for name, share in zip(("time", "flops"), front_probabilities(table, draws), strict=True):
        table[f"pareto_{name}_probability"] = share
    holds_one = (table["relative_time_low"] <= 1.0) & (table["relative_time_high"] >= 1.0)
    table["clock_tie"] = holds_one | table["speedup"].between(*floor)

    absent = NO_VALID_BASELINE if key["dataset"] in tried else BASELINE_NOT_RUN
    return ResourceClass(key, _ordered(table), floor, clock, baseline, absent)


def _same(values: Series, wanted: str | float) -> Series:
    return values.isna() if wanted != wanted else values == wanted


def _derive_row(row: Series, baseline: DataFrame, clock: Series | None, draws: FidDraws) -> dict:
    columns: dict = equal_quality_columns(row, baseline, draws)
    share, columns["flops_to_time_yield_note"] = flops_to_time_yield(row, clock)
    columns["flops_to_time_yield"] = share
    ends = tuple(columns[f"equal_quality_speedup{end}"] for end in ("_low", "_high"))
    images, columns["break_even_images_note"] = break_even_images(row, columns["equal_quality_speedup"], ends, baseline)
    columns["break_even_images"] = images
    return columns


def flops_to_time_yield(row: Series, clock: Series | None) -> tuple[float, str]:
    """Return the yield of a row against the clock trial, or NaN and the reason (harness.report.analysis.saved_work)."""
    if clock is None or not row["speedup"] > 0:
        return math.nan, NOT_TIMED
    if row["trial_id"] == clock["trial_id"]:
        return math.nan, THE_CLOCK
    if not (row["flops_per_image"] > 0 and clock["flops_per_image"] > 0):
        return math.nan, NO_FLOPS

    return time_yield(1.0 / row["speedup"], row["flops_per_image"] / clock["flops_per_image"])


def break_even_images(
    row: Series, equal_quality_speedup: float, ends: tuple[float, float], baseline: DataFrame
) -> tuple[float, str]:
    """Return after how many images the extra preparation has paid for itself, or NaN and the reason.

    Extra is what exceeds the baseline's own preparation (training its network).
    Costs are device-seconds at the throughput's batch.
    The baseline spends `equal_quality_speedup` times the row's seconds, on its own devices; `ends` are those of its
    95 % interval. A gain that the lower end does not show does not pay anything back.
    """
    extra = row["prepare_seconds"] - baseline["prepare_seconds"].min()
    if math.isnan(extra):
        return math.nan, NO_PREPARE
    if extra <= 0:
        return 0.0, ""
    if not (equal_quality_speedup > 0 and row["throughput_images_per_second"] > 0):
        return math.nan, NO_RATIO

    needed = row["devices"] / baseline["devices"].max()
    if not ends[0] > needed:
        return math.nan, NEVER if ends[1] <= needed else GAIN_NOT_SHOWN
    seconds = 1.0 / row["throughput_images_per_second"]
    saved = seconds * (equal_quality_speedup * baseline["devices"].max() - row["devices"])
    return extra / saved, ""


def ranking_speedup(rows: DataFrame) -> Series:
    """Return what orders rows by gain [rows]: speed-up at equal quality, or its bound."""
    name = "equal_quality_speedup"
    return rows[name].fillna(rows[f"{name}_at_least"]).fillna(rows[f"{name}_at_most"])


def _ordered(table: DataFrame) -> DataFrame:
    by = ["network", "method", "steps", "nfe", "trial_id"]
    return table.sort_values(by, na_position="last", ignore_index=True)
