"""What the page needs for its interactive chart: points, a specification per pair of axes, labels, colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pandas import DataFrame, Series

from harness.report.family_colors import BASELINE as BASELINE_INK
from harness.report.family_colors import DARK_BASELINE, family_color
from harness.report.web.chart_rows import BASELINE, COSTS, QUALITIES, Axis, chart_points, front_field
from harness.report.web.chart_spec import chart_spec

_LIBRARIES = ("altair", "vl_convert")
"""They are large, so a GPU machine to which libraries are carried does without."""
_MOST_LABELS = 12


@dataclass(frozen=True)
class Chart:
    """The interactive chart; without points there is none."""

    data: dict[str, Any]
    """What the script reads: points, specs, labels and colors by their keys."""
    costs: tuple[tuple[str, str], ...]
    """Keys and words of the switch of costs."""
    qualities: tuple[tuple[str, str], ...]
    hues: tuple[tuple[str, str, str], ...]
    """For the legend: baseline and families with rows, each with its color on a light and on a dark ground."""
    table: tuple[tuple[str, ...], ...]
    """The points as rows of text: name, family, and what is read beside a point."""

    @property
    def first(self) -> tuple[str, str]:
        """Return the keys of cost and quality that are shown first."""
        return self.costs[0][0], self.qualities[0][0]


def make_chart(rows: DataFrame, families: Sequence[str]) -> Chart | None:
    """Return the chart of a class's rows, which have `page_name`; None where no row has both a quality and a cost.

    None too on a machine without the libraries that describe and bundle it: the page then has its tables alone.
    `families` are those of the analysis, in the order of their colors.
    """
    if not all(find_spec(name) for name in _LIBRARIES):
        return None
    from altair.utils import schemapi

    records = chart_points(rows)
    pairs = [
        (cost, quality)
        for cost in COSTS
        for quality in QUALITIES
        if any(cost.key in one and quality.key in one for one in records)
    ]
    if not pairs:
        return None

    # colors, the baseline's first
    found = [family for family in (BASELINE, *families) if any(one["hue"] == family for one in records)]
    hues = tuple((name, *both_grounds(name, families)) for name in found)

    # altair checks every part against Vega-Lite's schema, for seconds: a test does that
    with schemapi.debug_mode(False):
        specs = {f"{cost.key} {quality.key}": chart_spec(records, cost, quality, found) for cost, quality in pairs}
    data = {
        "points": records,
        "specs": specs,
        "labels": {
            f"{cost.key} {quality.key}": [[name, text] for name, text in label_points(rows, cost, quality)]
            for cost, quality in pairs
        },
        "colors": {"light": [light for _, light, _ in hues], "dark": [dark for *_, dark in hues]},
    }

    # switches, legend, table
    return Chart(
        data=data,
        costs=tuple((axis.key, axis.word) for axis in COSTS if any(axis is cost for cost, _ in pairs)),
        qualities=tuple((axis.key, axis.word) for axis in QUALITIES if any(axis is quality for _, quality in pairs)),
        hues=hues,
        table=tuple((one["name"], one["family"], "; ".join(one["facts"])) for one in records),
    )


def both_grounds(hue: str, families: Sequence[str]) -> tuple[str, str]:
    """Return the color of a family, or of the baseline, on a light and on a dark ground."""
    if hue == BASELINE:
        return BASELINE_INK, DARK_BASELINE
    return family_color(hue, families), family_color(hue, families, dark=True)


def label_points(rows: DataFrame, cost: Axis, quality: Axis) -> list[tuple[str, str]]:
    """Return the page names of the points that matter, the most important first, each with its label.

    They are: the best of each family, the ends of the baseline, then the front. Best is the least product of both.
    """
    known = rows[(rows[cost.column] > 0) & (rows[quality.column] > 0)]
    product = (known[cost.column] * known[quality.column]).sort_values(kind="stable")
    ordered = known.loc[product.index]

    # controls only where a family has nothing else
    claims = ordered[ordered["control_of_trial_id"] == ""]
    best = [*best_of_families(claims).index, *best_of_families(ordered).index]
    line = known[known["is_baseline"]].sort_values(cost.column)
    ends = [*line.index[:1], *line.index[-1:]]
    front = known.index[[bool(one.get(front_field(cost, quality))) for one in chart_points(known)]]

    chosen = list(dict.fromkeys([*best[: len(set(known["family"]))], *ends, *front]))[:_MOST_LABELS]
    texts = _short_names(known.loc[chosen])
    return [(str(known.loc[place, "page_name"]), texts[place]) for place in chosen]


def best_of_families(ordered: DataFrame) -> DataFrame:
    """Return the first row of each family; the baseline's line belongs to none."""
    return ordered[~ordered["is_baseline"]].drop_duplicates("family")


def _short_names(rows: DataFrame) -> Series:
    """Return method and steps of each row, and a network that is not the baseline's.

    Parameters stand only where names would be equal without them.
    """
    usual = rows.loc[rows["is_baseline"], "network"].unique()
    network = (rows["network"] + ":").mask(rows["network"].isin(usual), "")
    steps = rows["steps"].map("-{:.0f}".format)
    full = network + rows["method"] + steps
    plain = network + rows["method"].str.replace(r"\([^()]*\)", "", regex=True) + steps
    named = plain.where(~plain.duplicated(keep=False), full)
    return named.where(~named.duplicated(keep=False), rows["page_name"])
