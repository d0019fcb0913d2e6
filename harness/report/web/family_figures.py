"""The figures of each family: those that show its rows alone, others drawn anew from its rows and the baseline's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pandas import DataFrame

from harness.report.analysis.derive import Analysis, ResourceClass
from harness.report.figures.draw import CAPTIONS, DRAWERS
from harness.report.figures.plot_style import render_figure, report_style
from harness.report.web.sample_files import data_url

MOST_FIGURES = 2
"""Figures of a family."""
_WHOLE = 0.999
"""A share of the network from which on all of it ran."""


@dataclass(frozen=True)
class FamilyFigure:
    """One figure of a family."""

    caption: str
    data: bytes
    """The SVG file."""
    file: str
    """The file of the results folder that holds it; empty for one of this page alone."""

    @property
    def address(self) -> str:
        """Return the file as a data URL."""
        return data_url("image/svg+xml", self.data)


def _in_table(name: str) -> Callable[[DataFrame, Analysis], DataFrame]:
    return lambda rows, analysis: rows[rows["trial_id"].isin(analysis.tables[name]["trial_id"])]


def _of_width(rows: DataFrame, analysis: Analysis) -> DataFrame:
    steps = analysis.tables["steps"]
    return rows[rows["trial_id"].isin(steps.loc[steps["units_json"].str.contains('"width-', regex=False), "trial_id"])]


def _of_part(rows: DataFrame, analysis: Analysis) -> DataFrame:
    steps = analysis.tables["steps"]
    partial = steps.loc[steps["network_share"] < _WHOLE, "trial_id"]
    return rows[rows["trial_id"].isin(partial) & (rows["denoiser"] != "full")]


def _of_other_schedule(rows: DataFrame, _: Analysis) -> DataFrame:
    usual = set(rows.loc[rows["is_baseline"], "schedule"])
    return rows[~rows["schedule"].isin(usual) & (rows["executor"] == "serial")]


def _of_the_baseline(rows: DataFrame, _: Analysis) -> DataFrame:
    return rows[rows["family"].isin(rows.loc[rows["is_baseline"], "family"])]


def _parallel(rows: DataFrame, _: Analysis) -> DataFrame:
    return rows[rows["executor"] != "serial"]


def _of_cache(rows: DataFrame, analysis: Analysis) -> DataFrame:
    steps = analysis.tables["steps"]
    return rows[rows["trial_id"].isin(steps.loc[steps["units_json"].str.contains('"cached"', regex=False), "trial_id"])]


_SHOWS: dict[str, Callable[[DataFrame, Analysis], DataFrame]] = {
    "calibration": _in_table("calibration"),
    "skipped-calls": _of_cache,
    "widths": _of_width,
    "searches": _in_table("searches"),
    "network-share": _of_part,
    "refinements": _in_table("refinements"),
    "devices": _parallel,
    "distances": _parallel,
    "tolerances": _parallel,
    "levels": _of_other_schedule,
    "schedules": _of_other_schedule,
    "fid-nfe": _of_the_baseline,
}
"""By the name of a figure: of which rows it is; the most telling one first."""


_OF_ALL = ("fid-nfe",)
"""Figures of which the results folder's file shows all families."""


def family_figures(one: ResourceClass, analysis: Analysis, plots: Mapping[str, bytes]) -> dict[str, list[FamilyFigure]]:
    """Return the figures of each family with rows in the first class, `one`; `plots` are its figures by file name."""
    found: dict[str, list[FamilyFigure]] = {}
    for name, rows_of in _SHOWS.items():
        file = f"{name}.svg"
        if file not in plots:
            continue
        families = list(dict.fromkeys(rows_of(one.rows, analysis)["family"]))
        for family in families:
            own = found.setdefault(family, [])
            if len(own) >= MOST_FIGURES:
                continue
            if len(families) == 1 and name not in _OF_ALL:
                own.append(FamilyFigure(CAPTIONS[name], plots[file], file))
            elif (drawn := _draw_alone(name, family, one, analysis)) is not None:
                own.append(FamilyFigure(CAPTIONS[name], drawn, ""))
    return found


def _draw_alone(name: str, family: str, one: ResourceClass, analysis: Analysis) -> bytes | None:
    """Return the figure of the rows of a family and of the baseline; None where it has nothing to show."""
    if name not in DRAWERS:
        return None
    rows = one.rows[(one.rows["family"] == family) | one.rows["is_baseline"]]
    with report_style():
        figure = DRAWERS[name](replace(one, rows=rows), analysis, {})
        return None if figure is None else render_figure(figure)["svg"]
