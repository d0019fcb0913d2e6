"""What every figure of a report must be, read off matplotlib's objects: texts, colours, axes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from harness.report.family_colors import BASELINE, COLORS, MUTED, OTHERS
from harness.report.figures.plot_style import FAINT, fix_layout
from harness.report.figures.series_looks import MOST_SERIES

SLACK = 1.0
"""Pixels by which two boxes may meet."""
WORDLESS = {"#ffffff", "#000000", FAINT, MUTED, OTHERS}


def broken_rules(figure: Figure) -> list[str]:
    """Return a sentence for each rule that the figure breaks."""
    fix_layout(figure)
    figure.draw_without_rendering()
    return [
        *_title_faults(figure), *_colour_faults(figure), *_clipped_texts(figure), *_overlapping_texts(figure),
        *_share_faults(figure), *_legend_faults(figure),
    ]  # fmt: skip


def visible_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return every text that is drawn with its box in pixels, without an annotation's arrow."""
    hidden = _unused_ticks(figure)
    every = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [(text, Text.get_window_extent(text)) for text in every if id(text) not in hidden and _is_drawn(text)]
    return [(text.get_text(), box) for text, box in boxes if box.width]


def _is_drawn(text: Text) -> bool:
    return text.axes is None or bool(text.axes.axison or text not in (text.axes.xaxis.label, text.axes.yaxis.label))


def _unused_ticks(figure: Figure) -> set[int]:
    """Return the ids of tick labels beyond the limits of their axis, or of axes that are off."""
    hidden: set[int] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            shown = {id(tick) for tick in axis._update_ticks()} if axes.axison else set()  # type: ignore[attr-defined]
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if id(tick) not in shown:
                    hidden |= {id(tick.label1), id(tick.label2)}
    return hidden


def _title_faults(figure: Figure) -> Iterator[str]:
    titles = [figure.get_suptitle(), *(axes.get_title(loc="left") for axes in figure.axes)]
    questions = sum(title.count("?") for title in titles)
    if questions != 1:
        yield f"{questions} questions in the titles {titles}"


def _colour_faults(figure: Figure) -> Iterator[str]:
    lines = [line for axes in figure.axes for line in axes.get_lines() if len(line.get_xdata())]
    colours = {to_hex(colour) for line in lines for colour in (line.get_color(), *_edges(line))} - WORDLESS
    if strange := colours - {BASELINE, *COLORS}:
        yield f"colours of no family: {sorted(strange)}"

    series = {(to_hex(line.get_color()), str(line.get_marker())) for line in lines if _is_series(line)}
    if len(series) > MOST_SERIES and not any(_is_list(axes) for axes in figure.axes):
        yield f"{len(series)} coloured series"


def _edges(line: Line2D) -> Iterator[object]:
    if line.get_marker() not in ("None", "", None):
        yield line.get_markeredgecolor()


def _is_series(line: Line2D) -> bool:
    has_mark = line.get_marker() not in ("None", "", None, ".")
    return has_mark and to_hex(line.get_color()) not in {*WORDLESS, BASELINE}


def _is_list(axes: Axes) -> bool:
    """Tell whether the rows of the axes are named where they stand, as in a plot of dots."""
    return any(re.search("[a-z]", label.get_text()) for label in axes.get_yticklabels())


def _clipped_texts(figure: Figure) -> Iterator[str]:
    room = figure.bbox
    for text, box in visible_texts(figure):
        beyond = max(room.x0 - box.x0, box.x1 - room.x1, room.y0 - box.y0, box.y1 - room.y1)
        if beyond > SLACK:
            yield f"{text!r} reaches {beyond:.0f} pixels beyond the figure"


def _overlapping_texts(figure: Figure) -> Iterator[str]:
    for (one, a), (two, b) in combinations(visible_texts(figure), 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > SLACK and along > SLACK:
            yield f"{one!r} and {two!r} overlap by {across:.0f} x {along:.0f} pixels"


def _share_faults(figure: Figure) -> Iterator[str]:
    for axes in figure.axes:
        for label, ends in ((axes.get_xlabel(), axes.get_xlim()), (axes.get_ylabel(), axes.get_ylim())):
            if re.match("share|precision|recall", label.lower()) and not np.isclose(max(ends), 1.0):
                yield f"the axis {label!r} ends at {max(ends)}"


def _legend_faults(figure: Figure) -> Iterator[str]:
    for legend in (*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())):
        if len(legend.get_texts()) > 6:
            yield f"a legend of {len(legend.get_texts())} entries"
