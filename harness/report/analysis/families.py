"""The family of each row: what it has besides the baseline's schedule and a solver."""

from __future__ import annotations

from collections.abc import Sequence

from pandas import DataFrame, Series

from harness.report.facts import NETWORK, MethodFacts

SOLVER, SCHEDULE, PARALLEL = "solver", "schedule", "parallel in time"


def name_families(trials: DataFrame, facts: Sequence[MethodFacts] = ()) -> Series:
    """Return the family of each trial [trials], by what its parts and its network say of themselves.

    A parallel executor comes first, then a denoiser that leaves out or tunes a part of the network, then the network,
    then the schedule. Without facts an executor is "parallel in time" and a denoiser a family of its own.
    """
    said = {(one.part, one.name): one.family for one in facts}
    usual = {key: _usual_schedule(rows) for key, rows in trials.groupby(["suite", "dataset"], dropna=False)}
    families = [_family(row, usual[row["suite"], row["dataset"]], said) for row in trials.to_dict("records")]
    return Series(families, trials.index, dtype=object)


def _family(row: dict, usual_schedule: str, said: dict[tuple[str, str], str]) -> str:
    if row["executor"] != "serial":
        return said.get(("executor", row["executor"])) or PARALLEL
    if row["denoiser"] != "full":
        return said.get(("denoiser", row["denoiser"])) or row["denoiser"]

    card = row["network_like"] or row["network"]
    if of_network := said.get((NETWORK, card)):
        return of_network
    if row["schedule"] != usual_schedule:
        return said.get(("schedule", row["schedule"])) or SCHEDULE
    return SOLVER


def _usual_schedule(rows: DataFrame) -> str:
    """Return the schedule of the baseline, else that of most rows."""
    points = rows[rows["is_baseline"]]
    counts = (rows if points.empty else points)["schedule"].value_counts().sort_index()
    return str(counts.idxmax())
