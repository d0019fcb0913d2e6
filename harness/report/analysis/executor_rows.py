"""Rows of parallel executors: which form one line, by which parameter, and how fast they are.

Devices separate resource classes, but not the purpose of parallel executors.
So rows that differ from a class in the number of devices alone are shown with it.
"""

from __future__ import annotations

import json
import math
import re

from pandas import DataFrame, Series

from harness.report.analysis.derive import COMPARABLE, Analysis, ResourceClass
from harness.report.formats import one_line

_PARTS_AND_STEPS = ("network", "denoiser", "schedule", "solver", "executor", "steps", "precision_dtype")
_SERIAL_RUN = ("network", "denoiser", "schedule", "solver", "steps", "precision_dtype", "devices")


def select_parallel_rows(one: ResourceClass, analysis: Analysis) -> DataFrame:
    """Return the rows of parallel executors on any number of devices, with their series.

    None where an earlier class has shown them.
    """
    alike = [other for other in analysis.classes if all(_same(other.key[n], one.key[n]) for n in COMPARABLE)]
    if alike[0] is not one:
        return one.rows.iloc[:0].assign(series="")

    rows = DataFrame([row for other in alike for _, row in other.rows.iterrows()])
    rows = rows[rows["executor"] != "serial"]

    several = rows["network"].nunique() > 1
    names = rows["network"] + ":" + rows["method"] if several else rows["method"]
    return rows.assign(series=[one_line(name) for name in names]).sort_values(["steps", "series", "trial_id"])


def speedups_over_serial(rows: DataFrame) -> Series:
    """Return the serial latency over the row's [rows].

    It is the median over pairs of one block where there are pairs, else a ratio of medians.
    """
    return rows["speedup_over_serial"].fillna(rows["serial_latency_seconds"] / rows["latency_seconds"])


def read_tolerance(row: Series) -> float:
    """Return the executor's tolerance, NaN if it has none."""
    found = json.loads(row["params_json"] or "{}").get("executor", {}).get("tolerance")
    return float(found) if isinstance(found, int | float) else math.nan


def key_without_parameter(row: Series, *parameters: str) -> str:
    """Return a key of the row's parts and steps, without these parameters of the executor."""
    params = json.loads(row["params_json"] or "{}")
    params["executor"] = {name: value for name, value in params.get("executor", {}).items() if name not in parameters}
    return json.dumps([*(row[name] for name in _PARTS_AND_STEPS), params], sort_keys=True)


def serial_run_key(row: Series) -> str:
    """Return a key that is equal for executors of one serial run on equal numbers of devices."""
    params = {part: made for part, made in json.loads(row["params_json"] or "{}").items() if part != "executor"}
    return json.dumps([*(row[name] for name in _SERIAL_RUN), params], sort_keys=True)


def drop_parameter(name: str, parameter: str) -> str:
    """Return a display name without one parameter in its brackets."""
    rest = re.sub(rf"(?<=[(,]){parameter}=[^,()]*,?", "", name)
    return re.sub(r",\)", ")", rest).replace("()", "")


def _same(a: object, b: object) -> bool:
    return a == b or (a != a and b != b)
