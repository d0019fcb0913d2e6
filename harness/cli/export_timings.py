"""The verb `export timings`: every timed call of a results folder, a line each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

OF_ROW = (
    "dataset", "network", "method", "steps", "seed_set", "training", "device_name", "devices", "precision_dtype",
    "timing_tier", "timing_mode", "verdict", "git_sha", "started_at",
)  # fmt: skip
"""Columns of a trial that stand in each of its lines, after its printed name."""
_CSV, _PARQUET = ".csv", ".parquet"


def timing_lines(folder: Path, wanted: Sequence[str]) -> DataFrame:
    """Return a line per timed call of the rows' last attempts: the trial, then the columns of the table of timings.

    `name` is the printed name, `seconds_per_image` the call's seconds over its images. `wanted` are rows by name or
    id; none stands for all. Raises UsageError for a name that is not there, and where no call was timed.
    """
    from harness import api
    from harness.report.export import find_trials
    from harness.schema.trial_name import trial_name

    # the rows
    tables = api.load(folder)
    trials = tables.trials
    if wanted:
        ids = {row["trial_id"] for word in wanted for row in find_trials(trials, word)}
        trials = trials[trials["trial_id"].isin(ids)]
    names = [trial_name(*one) for one in zip(trials["network"], trials["method"], trials["steps"], strict=True)]
    rows = trials[["trial_id", "attempt", *OF_ROW]].assign(name=names)

    # their calls
    lines = rows.merge(tables.timings, on=["trial_id", "attempt"], validate="one_to_many")
    if lines.empty:
        raise UsageError(
            f"{folder} has no timed call of {'these rows' if wanted else 'any row'}; a run without timing has none"
        )
    lines = lines.assign(seconds_per_image=lines["seconds"] / lines["batch"])
    order = ["dataset", "network", "method", "steps", "trial_id", "block", "order"]
    lines = lines.sort_values(order, kind="stable", ignore_index=True)
    return lines[["name", *(column for column in lines.columns if column != "name")]]


def write_timings(lines: DataFrame, out: Path | None) -> str:
    """Write lines as CSV or Parquet by the ending of `out` and return its path; without one return them as CSV.

    Numbers are in full. Raises UsageError for another ending.
    """
    from harness.storage.disk import replace

    if out is None:
        return _as_csv(lines).removesuffix("\n")
    if out.suffix not in (_CSV, _PARQUET):
        raise UsageError(f"--out is {out}; expected a file that ends in {_CSV} or {_PARQUET}")
    if not out.parent.is_dir():
        raise UsageError(f"--out is {out}, and {out.parent} is no folder; expected a file in a folder that exists")
    if out.suffix == _CSV:
        data = _as_csv(lines).encode()
    else:
        stream = io.BytesIO()
        lines.to_parquet(stream, index=False)
        data = stream.getvalue()
    replace(out, data)
    return str(out)


def _as_csv(lines: DataFrame) -> str:
    """Return the lines as CSV; no text begins a formula of a spreadsheet."""
    from harness.report.formats import escape_csv

    text = lines.select_dtypes(include=["object", "string"]).columns
    safe = lines.assign(**{name: [escape_csv(v) if isinstance(v, str) else v for v in lines[name]] for name in text})
    return str(safe.to_csv(index=False, lineterminator="\n"))
