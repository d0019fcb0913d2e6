"""What stands above the tables of report.html: health, sentences, the chart, strips of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.comparisons import Comparison
from harness.report.analysis.derive import Analysis
from harness.report.formats import format_count, format_interval, format_number
from harness.report.leaderboard import Leaderboard
from harness.report.page import read_template
from harness.report.web.chart import Chart, best_of_families, both_grounds, make_chart
from harness.report.web.chart_rows import BASELINE
from harness.report.web.gallery import GalleryGroup, make_gallery
from harness.report.web.health import Health, read_health
from harness.report.web.page_rows import page_rows
from harness.report.web.sample_files import strip_addresses
from harness.report.web.vega_bundle import vega_bundle

STRIP_PICTURES = 5


@dataclass(frozen=True)
class SampleStrip:
    """Samples of one row: the same noises at the same places as in every other strip."""

    name: str
    """The row, as the page knows it."""
    heading: str
    """Its family, or that it is the baseline."""
    text: str
    light: str
    """The family's color on a light ground."""
    dark: str
    address: str
    """The pictures in a row as a data URL."""


@dataclass(frozen=True)
class Top:
    """What the template top.html.j2 fills in."""

    health: Health | None = None
    sentences: tuple[str, ...] = ()
    limits: str = ""
    """What the tables do not show."""
    chart: Chart | None = None
    strips: tuple[SampleStrip, ...] = ()
    gallery: tuple[GalleryGroup, ...] = ()
    """Pictures at equal time."""
    scripts: tuple[str, ...] = ()
    """Scripts that the page runs in this order, before those of the tables; the page's policy names each."""
    libraries: tuple[str, ...] = ()
    """Which libraries these scripts hold, a sentence each."""


def make_top(
    analysis: Analysis, board: Leaderboard, pairs: Sequence[Comparison], pictures: Mapping[str, np.ndarray]
) -> Top:
    """Return what stands above the tables.

    `pictures` holds the sample pictures by trial_id, uint8 [n, channels, h, w]; trials without any are not in it.
    """
    top = Top(read_health(analysis), board.summary, board.limits, scripts=(read_template("chart.js"),))
    if not analysis.classes:
        return top

    # pictures of the first class
    names = page_rows(analysis)["page_name"]
    rows = analysis.classes[0].rows
    rows = rows.assign(page_name=[names[trial_id] for trial_id in rows["trial_id"]])
    top = replace(
        top,
        strips=choose_strips(rows, pictures, analysis.families),
        gallery=make_gallery(rows, pictures, analysis.families),
    )
    chart = make_chart(rows, analysis.families)
    if chart is None:
        return top
    bundle = vega_bundle()
    return replace(top, chart=chart, scripts=(bundle.script, *top.scripts), libraries=(bundle.note,))


def choose_strips(
    rows: DataFrame, pictures: Mapping[str, np.ndarray], families: Sequence[str]
) -> tuple[SampleStrip, ...]:
    """Return strips of the baseline, then of a row of each family, at as equal numbers of evaluations as there are.

    That number is the most frequent one. Of a family's rows with equally near numbers the best counts: the least
    product of FID and time. Rows that are controls come last.
    """
    shown = rows[rows["trial_id"].isin(pictures.keys()) & (rows["nfe"] > 0) & rows["fid"].notna()]
    if shown.empty:
        return ()
    usual = float(shown["nfe"].round().mode().iloc[0])
    ordered = shown.assign(
        _far=np.abs(np.log(shown["nfe"] / usual)).round(2),
        _control=shown["control_of_trial_id"] != "",
        _product=(shown["fid"] * shown["relative_time"]).fillna(np.inf),
    ).sort_values(["_control", "_far", "_product", "trial_id"])

    # baseline first, then families in their order
    baseline = ordered[ordered["is_baseline"]].sort_values(["_far", "trial_id"]).head(1)
    others = best_of_families(ordered).sort_values("family", key=lambda names: names.map(families.index))
    return tuple(_strip(row, pictures, families) for part in (baseline, others) for _, row in part.iterrows())


def _strip(row: Series, pictures: Mapping[str, np.ndarray], families: Sequence[str]) -> SampleStrip:
    heading = BASELINE if row["is_baseline"] else row["family"]
    light, dark = both_grounds(heading, families)
    (address,) = strip_addresses({"": pictures[row["trial_id"]][:STRIP_PICTURES]}).values()
    fid = f"FID {format_number(row['fid'])} {format_interval(row['fid_low'], row['fid_high'])}".strip()
    return SampleStrip(row["page_name"], heading, f"{fid}, NFE {format_count(row['nfe'])}", light, dark, address)
