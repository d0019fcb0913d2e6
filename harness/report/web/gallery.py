"""The gallery of report.html: the same noises, the baseline and each family's best row, at equal time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, Series

from harness.report.figures.plotted_times import add_plotted_times
from harness.report.formats import format_count, format_interval, format_number
from harness.report.web.chart import best_of_families, both_grounds
from harness.report.web.chart_rows import BASELINE
from harness.report.web.sample_files import strip_addresses, strip_width

PICTURES = 5
"""Pictures of a row: five of 64 pixels fit in the width of a telephone."""
MOST_TIMES = 3
_SHOWN_SIDE = 64
"""Pixels of a picture's shorter side on the page, at least; whole multiples of its own."""
_SLACK = 1.05
"""Times within a twentieth count as equal."""
_SERIAL = "serial"


@dataclass(frozen=True)
class GalleryStrip:
    """Pictures of one row, and what is written above them."""

    name: str
    """The row, as the page knows it."""
    heading: str
    """Its family, or that it is the baseline."""
    text: str
    """Its time, FID and evaluations."""
    light: str
    dark: str
    address: str
    """The pictures in a row as a data URL, at their own size."""
    width: int
    """Pixels of the strip on the page: whole multiples of its own."""


@dataclass(frozen=True)
class GalleryGroup:
    """The rows that take no longer than one row of the baseline, which comes first."""

    title: str
    strips: tuple[GalleryStrip, ...]


def make_gallery(
    rows: DataFrame, pictures: Mapping[str, np.ndarray], families: Sequence[str]
) -> tuple[GalleryGroup, ...]:
    """Return a group for each of at most three times: the baseline's fewest steps, its clock, its most steps.

    `rows` are those of one class with `page_name`. `pictures` are uint8 [n, channels, h, w] by trial_id; rows without
    any, without a FID or without a time are not shown. Of a family it is the row of the least FID whose time is at
    most the baseline's; controls only where a family has nothing else. A time that no family keeps is left out.
    """
    shown = add_plotted_times(rows[rows["trial_id"].isin(pictures.keys()) & rows["fid"].notna()])
    groups = []
    for _, base in _baseline_rows(shown).iterrows():
        found = best_of_families(_as_fast(shown, base)).sort_values("family", key=lambda one: one.map(families.index))
        if len(found):
            strips = [_strip(row, pictures, families) for row in (base, *(row for _, row in found.iterrows()))]
            title = f"At most {format_number(base['image_ms'])} ms an image, give or take {100 * (_SLACK - 1):.0f} %"
            groups.append(GalleryGroup(title, tuple(strips)))
    return tuple(groups)


def _baseline_rows(rows: DataFrame) -> DataFrame:
    """Return at most three rows of the baseline, in the order of their times: the fastest, the clock, the slowest."""
    base = rows[rows["is_baseline"] & (rows["image_ms"] > 0)].sort_values(["image_ms", "trial_id"])
    clock = base[base["trial_id"] == base["clock_trial_id"]]
    wanted = {*base["trial_id"].iloc[[0, -1]], *clock["trial_id"]} if len(base) else set()
    return base[base["trial_id"].isin(wanted)].head(MOST_TIMES)


def _as_fast(rows: DataFrame, base: Series) -> DataFrame:
    """Return the rows that take at most a baseline row's time, controls last, the least FID first.

    Executors that overlap steps are for one image alone: their latency is compared with that of the baseline.
    """
    overlaps = rows["executor"] != _SERIAL
    ratio = (rows["image_ms"] / base["image_ms"]).mask(overlaps, rows["latency_ms"] / base["latency_ms"])
    kept = rows[(ratio > 0) & (ratio <= _SLACK)]
    ordered = kept.assign(_control=kept["control_of_trial_id"] != "")
    return ordered.sort_values(["_control", "fid", "trial_id"])


def _strip(row: Series, pictures: Mapping[str, np.ndarray], families: Sequence[str]) -> GalleryStrip:
    heading = BASELINE if row["is_baseline"] else row["family"]
    light, dark = both_grounds(heading, families)
    first = pictures[row["trial_id"]][:PICTURES]
    (address,) = strip_addresses({"": first}).values()

    # what is written
    if row["executor"] == _SERIAL:
        time = f"{format_number(row['image_ms'])} ms an image"
    else:
        time = f"{format_number(row['latency_ms'])} ms for one image alone"
    fid = f"FID {format_number(row['fid'])} {format_interval(row['fid_low'], row['fid_high'])}".strip()
    text = f"{time} · {fid} · NFE {format_count(row['nfe'])}"
    return GalleryStrip(row["page_name"], heading, text, light, dark, address, _shown_width(first))


def _shown_width(pictures: np.ndarray) -> int:
    """Return the pixels of a strip on the page: pictures of 64 or a little more, gaps included."""
    n, _, height, width = pictures.shape
    factor = max(1, -(-_SHOWN_SIDE // min(height, width)))
    return factor * strip_width(n, height, width)
