"""The look of each series: its family's color, a marker for the variant, black for the baseline, grey for the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.families import name_families
from harness.report.family_colors import BASELINE, OTHERS, SOLVER, family_color, order_families

MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")
"""Of variants; the baseline has a circle."""
MOST_SERIES = 8
"""Series with a color in one figure, the baseline's black line among them; the others are grey."""
MOST_OF_FAMILY = 4
"""Series of one color in one figure: of more, lines could not be distinguished."""
OTHERS_NAME = "others, in the tables"


@dataclass(frozen=True)
class Look:
    """Color, marker and width in points of the line of one series."""

    color: str
    marker: str
    width: float

    def legend_name(self, series: str) -> str:
        """Return the series' name for labels: all grey ones share one."""
        return OTHERS_NAME if self == GREY else series


GREY = Look(OTHERS, "o", 0.9)


def paint_rows(rows: DataFrame, families: Sequence[str]) -> DataFrame:
    """Return the rows of a class with `family_color`, the color of each row's family among all families."""
    colors = [family_color(family, families) for family in rows["family"]]
    return rows.assign(family_color=Series(colors, rows.index, dtype=object))


def with_colors(rows: DataFrame) -> DataFrame:
    """Return the rows with `family_color`: those that were not painted get colors of the families among themselves."""
    if "family_color" in rows:
        return rows
    families = _families(rows)
    return paint_rows(rows.assign(family=families), order_families(families))


def assign_looks(rows: DataFrame, first: Sequence[str] = (), most_of_family: int = MOST_OF_FAMILY) -> dict[str, Look]:
    """Return a look per series: so many of a family and eight in all have a color, the baseline black.

    Those in `first` get colors first, then series of many rows, then by name.
    """
    if rows.empty:
        return {}

    # order
    sizes = rows["series"].value_counts()
    rest = sorted(sizes.index, key=lambda name: (-sizes[name], name))
    colors, bold = _series_colors(rows), _baseline_series(rows)
    ordered = [*(name for name in first if name in sizes.index), *rest]
    chosen = _choose_series(ordered, colors, bold, most_of_family)
    return _make_looks(sorted(sizes.index), chosen, colors, bold)


def assign_class_looks(rows: DataFrame) -> dict[str, Look]:
    """Return a look per series of the rows of a class, the same in all its figures of FID.

    One series of each family gets its color first, by `rate_series`: not a control. Then the best of the others follow.
    """
    if rows.empty:
        return {}
    leaders, rated = family_leaders(rows), rate_series(rows)
    colors, bold = _series_colors(rows), _baseline_series(rows)

    ordered = [*(name for name in rated if name in leaders.values()), *rated]
    return _make_looks(sorted(colors), _choose_series(ordered, colors, bold), colors, bold)


def row_look(row: Series) -> Look:
    """Return the look of a row that is named where it stands, so that it needs no color of its own."""
    if row["is_baseline"]:
        return Look(BASELINE, "o", 2.2)
    color = row.get("family_color", OTHERS)
    return GREY if color == OTHERS else Look(str(color), _usual_marker(str(row["method"])), 1.4)


def family_leaders(rows: DataFrame) -> dict[str, str]:
    """Return by family the series that is best by `rate_series`, one that is no control where there is any.

    The baseline's series is none of them.
    """
    controls, bold = _only_controls(rows), _baseline_series(rows)
    rated = [name for name in rate_series(rows) if name not in bold]
    families = _families(rows).groupby(rows["series"]).first()
    eligible = [*(name for name in rated if name not in controls), *(name for name in rated if name in controls)]
    found = {families[name]: name for name in reversed(eligible)}
    return {family: found[family] for family in sorted(found)}


def describe_grey(looks: Mapping[str, Look]) -> list[str]:
    """Return what grey means in a figure of these series, as notes: one or none."""
    grey = sum(look == GREY for look in looks.values())
    return [f"grey: {grey} {OTHERS_NAME}"] if grey else []


def rate_series(rows: DataFrame) -> list[str]:
    """Return the series, that with the point nearest to the lower left first: least log FID plus log cost."""
    best = rate_rows(rows).groupby(rows["series"]).min()
    return sorted(best.index, key=lambda name: (best[name], name))


def rate_rows(rows: DataFrame) -> Series:
    """Return FID times cost of each row [rows], infinite where it is not known.

    Cost is relative time, or NFE where no row of the class was timed.
    """
    cost = rows["relative_time"] if rows["relative_time"].notna().any() else rows["nfe"]
    return (rows["fid"] * cost).where(lambda value: value > 0).fillna(np.inf)


def _choose_series(
    ordered: Sequence[str], colors: dict[str, str], bold: Sequence[str], most_of_family: int = MOST_OF_FAMILY
) -> list[str]:
    """Return the series that get a color, the first of the order that both limits leave."""
    chosen: list[str] = list(bold)[:MOST_SERIES]
    for name in dict.fromkeys(ordered):
        alike = sum(colors[other] == colors[name] for other in chosen if other not in bold)
        if name not in chosen and len(chosen) < MOST_SERIES and alike < most_of_family:
            chosen.append(name)
    return chosen


def _make_looks(
    names: Sequence[str], chosen: Sequence[str], colors: dict[str, str], bold: Sequence[str]
) -> dict[str, Look]:
    """Return the look of each series by name; no two that are chosen have color and marker in common."""
    result: dict[str, Look] = {}
    taken: set[tuple[str, str]] = set()
    for name in names:
        if name in bold or name not in chosen or colors[name] == OTHERS:
            result[name] = Look(BASELINE, "o", 2.2) if name in bold else GREY
            continue
        start = MARKERS.index(_usual_marker(name))
        free = (MARKERS[(start + step) % len(MARKERS)] for step in range(len(MARKERS)))
        marker = next(one for one in free if (colors[name], one) not in taken)
        taken.add((colors[name], marker))
        result[name] = Look(colors[name], marker, 1.4)
    return result


def _usual_marker(name: str) -> str:
    """Return the marker of a variant by its name, without its network: the same in figures of any rows."""
    digest = hashlib.sha256(name.rpartition(":")[2].encode()).digest()
    return MARKERS[digest[0] % len(MARKERS)]


def _series_colors(rows: DataFrame) -> dict[str, str]:
    found = with_colors(rows).groupby("series")["family_color"].first()
    return {str(name): str(color) for name, color in found.items()}


def _families(rows: DataFrame) -> Series:
    """Return the family of each row [rows]; rows without parts count as solvers."""
    if "family" in rows:
        return rows["family"]
    if "executor" not in rows:
        return Series(SOLVER, rows.index, dtype=object)
    return name_families(rows)


def _baseline_series(rows: DataFrame) -> list[str]:
    return sorted(rows.loc[rows["is_baseline"].astype(bool), "series"].unique())


def _only_controls(rows: DataFrame) -> set[str]:
    """Return the series in which every row is a control of another trial."""
    is_control = rows["control_of_trial_id"].fillna("") != ""
    return set(rows["series"]) - set(rows.loc[~is_control, "series"])
