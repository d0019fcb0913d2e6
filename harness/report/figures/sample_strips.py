"""Strips of sample pictures: the first pictures of the baseline and of the best row of each family, from one noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import Series

from harness.report.analysis.derive import ResourceClass
from harness.report.family_colors import MUTED
from harness.report.figures.margin_labels import break_name
from harness.report.figures.plot_style import DPI, add_note, add_question, new_figure
from harness.report.figures.plotted_times import add_plotted_times
from harness.report.figures.quality_marks import name_series
from harness.report.figures.series_looks import Look, family_leaders, rate_rows, row_look, with_colors
from harness.report.formats import format_number, one_line
from harness.schema.trial_name import trial_name

MOST_PICTURES = 8
SIDE, GAP = 64, 8
"""Pixels of the longer side of a picture, and between two, in the figure of samples."""
_ROW_GAP = 22
"""Pixels between two strips: room for a name of two lines and a line of figures."""
_LEAST_ROWS = 2
_NAME = 26
"""Characters of a name in a line."""


@dataclass(frozen=True)
class Strip:
    """The pictures of one row, and what is written at their left."""

    name: str
    figures: str
    look: Look
    pictures: np.ndarray
    """uint8 [n, height, width, 3]"""


def draw_samples(one: ResourceClass, pictures: Mapping[str, np.ndarray]) -> Figure | None:
    """Draw a strip of pictures for the baseline and for the best row of each family, from the same noises.

    `pictures`: uint8 [n, channels, height, width] by trial_id. None without those of two rows.
    """
    strips = pick_family_strips(one, pictures)
    if len(strips) < _LEAST_ROWS:
        return None

    # axes and marks
    columns = max(len(strip.pictures) for strip in strips)
    wide, high = 2.9 + columns * (SIDE + GAP) / DPI, 1.0 + len(strips) * (SIDE + _ROW_GAP) / DPI
    figure, (axes,) = new_figure(max(wide, 5.6), high)
    plot_strips(axes, strips)

    # labels
    add_question(figure, "What do the images look like, from the same noise?")
    add_note(figure, "a column is one noise; of each family the row that is best by FID times time")
    return figure


def pick_family_strips(
    one: ResourceClass, pictures: Mapping[str, np.ndarray], most: int = MOST_PICTURES
) -> list[Strip]:
    """Return the strips of the baseline, which comes first, and of the best row of each family, by FID.

    Rows whose pictures have another size than the first strip's are left out.
    """
    # rows with pictures
    rows = add_plotted_times(name_series(with_colors(one.rows)).dropna(subset=["fid"]))
    rows = rows[rows["trial_id"].isin(list(pictures))]
    if rows.empty:
        return []

    # the baseline at the clock's steps, and the best of each family
    rows = rows.assign(rating=rate_rows(rows)).sort_values(["rating", "trial_id"])
    leaders = set(family_leaders(rows).values())
    base = rows[rows["is_baseline"].astype(bool)]
    at_clock = base[base["trial_id"] == one.key["clock_trial_id"]]
    first = (base if at_clock.empty else at_clock).iloc[:1]
    best = rows[rows["series"].isin(leaders)].drop_duplicates("series").sort_values(["fid", "trial_id"])

    shapes = [pictures[trial_id].shape[1:] for trial_id in [*first["trial_id"], *best["trial_id"]]]
    return [
        _make_strip(row, pictures[row["trial_id"]][:most])
        for part in (first, best)
        for _, row in part.iterrows()
        if pictures[row["trial_id"]].shape[1:] == shapes[0]
    ]


def plot_strips(axes: Axes, strips: Sequence[Strip]) -> None:
    """Plot strips below each other on axes without a frame, names and figures at their left."""
    blocks = [_lay_out(strip.pictures) for strip in strips]
    width, height = max(block.shape[1] for block in blocks), blocks[0].shape[0]
    canvas = np.full((len(strips) * (height + _ROW_GAP) - _ROW_GAP, width, 3), 255, dtype=np.uint8)
    for place, (strip, block) in enumerate(zip(strips, blocks, strict=True)):
        top = place * (height + _ROW_GAP)
        canvas[top : top + height, : block.shape[1]] = block
        _write_beside(axes, strip, top + height / 2)

    axes.imshow(canvas, interpolation="nearest", extent=(0, width, len(canvas), 0))
    axes.set_axis_off()
    axes.set_anchor("NE")


def _make_strip(row: Series, pictures: np.ndarray) -> Strip:
    name = one_line(trial_name(row["network"], row["method"], row["steps"]))
    time = "" if math.isnan(row["image_ms"]) else f", {format_number(row['image_ms'])} ms"
    colors = pictures.transpose(0, 2, 3, 1)
    colors = colors.repeat(3, -1) if colors.shape[-1] == 1 else colors[..., :3]
    return Strip(name, f"FID {format_number(row['fid'])}{time}", row_look(row), colors)


def _lay_out(pictures: np.ndarray) -> np.ndarray:
    """Return pictures [n, height, width, 3] in a line with white between, each of SIDE pixels or more."""
    factor = max(1, -(-SIDE // max(pictures.shape[1:3])))
    large = pictures.repeat(factor, 1).repeat(factor, 2)
    n, height, width, channels = large.shape
    gap = -(-GAP * max(height, width) // SIDE)
    block = np.full((height, n * (width + gap) - gap, channels), 255, dtype=np.uint8)
    for number, picture in enumerate(large):
        block[:, number * (width + gap) : number * (width + gap) + width] = picture
    return block


def _write_beside(axes: Axes, strip: Strip, middle: float) -> None:
    """Write the name of a strip in its color, and its figures below, at the left of its pictures."""
    for shown, color, up, side in (
        (break_name(strip.name, _NAME, 2), strip.look.color, 0.5, "bottom"),
        (strip.figures, MUTED, -1.5, "top"),
    ):
        axes.annotate(shown, (0.0, middle), (-8, up), textcoords="offset points", ha="right", va=side, fontsize=7.5,
                      color=color, annotation_clip=False)  # fmt: skip
