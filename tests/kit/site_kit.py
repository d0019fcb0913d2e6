"""Results folders made of synthetic tables, and the site of one group of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from harness.report.site.groups import SiteGroup
from harness.storage.planned import write_planned
from harness.storage.store import Store
from kit import tables as synthetic

NETWORK = "unet-small"


def few_rows(**changes: object) -> DataFrame:
    """Return six trials: a baseline that is the clock, another solver, one that is INVALID."""
    rows = [synthetic.row("ddim", nfe, 100.0 / nfe, nfe / 20, is_baseline=True) for nfe in (5, 10, 20)]
    rows += [synthetic.row("unipc", nfe, 60.0 / nfe, nfe / 19, solver="unipc") for nfe in (5, 10)]
    reasons = "nan-samples: 3 images; no-fid: no FID"
    rows += [synthetic.row("bad", 5, 9.0, 0.3, verdict="INVALID", reasons=reasons)]
    return DataFrame([{**row, **changes} for row in rows])


def few_tables(trials: DataFrame | None = None) -> dict[str, DataFrame]:
    """Return the tables of a few trials, every table of the schema among them."""
    trials = few_rows() if trials is None else trials
    checks = [
        {"trial_id": row["trial_id"], "attempt": 1, "place": 0, "rule": "nan-samples",
         "holds": row["verdict"] == "VALID", "found": "0 of 9 images", "expected": "none"}
        for _, row in trials.iterrows()
    ]  # fmt: skip
    return {
        "trials": trials,
        "steps": synthetic.steps(trials),
        "timings": synthetic.timings(trials),
        "quality": synthetic.quality(trials),
        "checks": DataFrame(checks),
    }


def few_group(trials: DataFrame | None = None, name: str = "quick") -> SiteGroup:
    """Return the group of a few trials, each from the folder "mine"."""
    tables = few_tables(trials)
    return SiteGroup(name, tables, sources=dict.fromkeys(tables["trials"]["trial_id"], "mine"))


def write_folder(path: Path, trials: DataFrame | None = None) -> Path:
    """Write a results folder that holds the trials."""
    store, tables = Store.create_or_open(path), few_tables(trials)
    ids = list(tables["trials"]["trial_id"])
    for trial_id in ids:
        store.commit(trial_id, {name: _rows(table, trial_id) for name, table in tables.items()})
    write_planned(path, ids)
    return path


def _rows(table: DataFrame, trial_id: str) -> list[dict[str, Any]]:
    own = table[table["trial_id"] == trial_id].drop(columns=["trial_id", "attempt"]).astype(object)
    return [{str(name): value for name, value in row.items() if not pd.isna(value)} for row in own.to_dict("records")]
