"""Which figure belongs to which family: by the rows that it can show, the most particular figure first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pandas import DataFrame

from harness.report.analysis.derive import Analysis

_WHOLE = 0.999
"""A share of the network from which on all of it ran."""


def _in_table(name: str) -> Callable[[DataFrame, Analysis], DataFrame]:
    return lambda rows, analysis: rows[rows["trial_id"].isin(analysis.tables[name]["trial_id"])]


def _of_part(rows: DataFrame, analysis: Analysis) -> DataFrame:
    steps = analysis.tables["steps"]
    partial = steps.loc[steps["network_share"] < _WHOLE, "trial_id"]
    return rows[rows["trial_id"].isin(partial) & (rows["denoiser"] != "full")]


def _of_width(rows: DataFrame, analysis: Analysis) -> DataFrame:
    steps = analysis.tables["steps"]
    return rows[rows["trial_id"].isin(steps.loc[steps["units_json"].str.contains('"width-', regex=False), "trial_id"])]


def _of_other_schedule(rows: DataFrame, _: Analysis) -> DataFrame:
    usual = set(rows.loc[rows["is_baseline"], "schedule"])
    return rows[~rows["schedule"].isin(usual) & (rows["executor"] == "serial") & (rows["denoiser"] == "full")]


def _parallel(rows: DataFrame, _: Analysis) -> DataFrame:
    return rows[rows["executor"] != "serial"]


_SHOWS: dict[str, Callable[[DataFrame, Analysis], DataFrame]] = {
    "calibration": _in_table("calibration"),
    "widths": _of_width,
    "network-share": _of_part,
    "searches": _in_table("searches"),
    "refinements": _in_table("refinements"),
    "tolerances": _parallel,
    "distances": _parallel,
    "devices": _parallel,
    "levels": _of_other_schedule,
    "schedules": _of_other_schedule,
    "fid-nfe": lambda rows, _: rows[(rows["executor"] == "serial") & (rows["denoiser"] == "full")],
}
"""By the name of a figure: which rows it can show. Figures that show a family among all others are not here."""


def place_figures(rows: DataFrame, analysis: Analysis, drawn: Iterable[str]) -> Mapping[str, list[str]]:
    """Return by family the names of its figures, of those that were drawn; `rows` are those of the first class.

    A figure stands with one family: of those that it shows, the one with fewest figures so far, and fewest rows.
    """
    names = [name for name in _SHOWS if name in set(drawn)]
    shows = {name: _SHOWS[name](rows, analysis)["family"].value_counts() for name in names}
    counts = rows["family"].value_counts()

    placed: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: (len(shows[name]), names.index(name))):
        families = sorted(shows[name].index, key=lambda one: (len(placed.get(one, ())), counts[one], one))
        if families:
            placed.setdefault(families[0], []).append(name)
    return placed
