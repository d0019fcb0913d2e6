"""Families of methods: which there are, their colors, and the eight series that a figure of FID colors."""

from __future__ import annotations

import numpy as np
from pandas import DataFrame, Series

from harness.report.figures.plot_style import GREY, INK, MARKERS, MOST_SERIES, Look

_COLORS = ("#0173b2", "#de8f05", "#029e73", "#cc78bc", "#56b4e9", "#882255", "#332288", "#d55e00", "#999933")
"""The colors of plot_style.COLORS; families that often lie close together differ most."""
SOLVER, SCHEDULE, PARALLEL = "solver", "schedule", "parallel executor"


def find_families(rows: DataFrame) -> Series:
    """Return the family of each row [rows]: what it has besides the baseline's schedule and a solver.

    A parallel executor comes first, then a denoiser by its name, then a schedule.
    """
    usual = _usual_schedule(rows)
    families = np.where(rows["schedule"] == usual, SOLVER, SCHEDULE).astype(object)
    families = np.where(rows["denoiser"] != "full", rows["denoiser"], families)
    return Series(np.where(rows["executor"] != "serial", PARALLEL, families), rows.index, dtype=object)


def assign_family_looks(rows: DataFrame) -> dict[str, Look]:
    """Return a look per series of the rows of a class: a color per family, a marker per variant.

    The baseline is black, and one series of each family comes first, by `rate_series`: not a control.
    Then the best of the others follow; beyond eight they are grey.
    """
    if rows.empty:
        return {}
    families = find_families(rows).groupby(rows["series"]).first()
    bold = sorted(rows.loc[rows["is_baseline"], "series"].unique())

    # the eight: first of their family, then the others
    rated = [name for name in rate_series(rows) if name not in bold]
    controls = _only_controls(rows)
    eligible = [*(name for name in rated if name not in controls), *(name for name in rated if name in controls)]
    leaders = set({families[name]: name for name in reversed(eligible)}.values())
    chosen = list(dict.fromkeys([*bold, *(name for name in rated if name in leaders), *rated]))[:MOST_SERIES]

    # looks
    colors = family_colors(families)
    result, used = {}, dict.fromkeys(colors, 0)
    for name in sorted(families.index):
        if name in bold or name not in chosen:
            result[name] = Look(INK, "o", 2.2) if name in bold else GREY
            continue
        family = families[name]
        used[family] += 1
        result[name] = Look(colors[family], MARKERS[used[family] % len(MARKERS)], 1.4)
    return result


def family_colors(families: Series) -> dict[str, str]:
    """Return the color of each family, the same in every figure of a class."""
    fixed = (SOLVER, SCHEDULE, PARALLEL)
    names = [*fixed, *sorted(set(families) - set(fixed))]
    return {name: _COLORS[place % len(_COLORS)] for place, name in enumerate(names)}


def rate_series(rows: DataFrame) -> list[str]:
    """Return the series, that with the point nearest to the lower left first: least log FID plus log cost.

    Cost is relative time, or NFE where no row of the class was timed.
    """
    cost = rows["relative_time"] if rows["relative_time"].notna().any() else rows["nfe"]
    product = (rows["fid"] * cost).where(lambda value: value > 0).fillna(np.inf)
    best = product.groupby(rows["series"]).min()
    return sorted(best.index, key=lambda name: (best[name], name))


def _only_controls(rows: DataFrame) -> set[str]:
    """Return the series in which every row is a control of another trial."""
    is_control = rows["control_of_trial_id"].fillna("") != ""
    return set(rows["series"]) - set(rows.loc[~is_control, "series"])


def _usual_schedule(rows: DataFrame) -> str:
    """Return the schedule of the baseline, else that of most rows."""
    points = rows[rows["is_baseline"]]
    counts = (rows if points.empty else points)["schedule"].value_counts().sort_index()
    return str(counts.idxmax())
