"""Style, axes and legends of every figure, and its bytes, which are equal on every rebuild."""

from __future__ import annotations

import contextlib
import io
import textwrap
from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine, PlaceHolderLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from PIL import Image

from harness.report.family_colors import BASELINE, COLORS, MUTED, OTHERS
from harness.report.figures.margin_labels import spread_margins

DPI = 150
INK, FAINT = BASELINE, "#d5d9e0"
DASHES = (0, (4, 2))
NOTE_CHARACTERS, TITLE_CHARACTERS = 14.0, 10.5
"""Characters of a note and of a title in an inch."""
_FEWEST_CHARACTERS = 12
"""A line of a title is not made shorter than this."""
_MOST_ROUNDS = 3
_TICK_GAP = 4.0
"""Pixels between the numbers of two ticks."""
_MOST_NUMBERED = 30
"""Steps that are all numbered."""
_SETTINGS = {
    "font.family": ["DejaVu Sans"], "font.size": 9, "axes.titlesize": 10.5, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.labelsize": 9, "axes.edgecolor": "#9aa1ad", "axes.labelcolor": INK,
    "axes.titlecolor": INK, "axes.titlepad": 9, "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED,
    "grid.color": "#eceef2", "grid.linewidth": 0.8, "legend.frameon": False, "legend.fontsize": 8.5,
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white", "text.parse_math": False,
    "svg.hashsalt": "oneclock", "svg.fonttype": "path", "path.simplify": False, "lines.linewidth": 1.4,
    "text.hinting": "none",
}  # fmt: skip


@contextlib.contextmanager
def report_style() -> Iterator[None]:
    """Apply our matplotlib settings inside the block only, whatever the user's are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(sns.axes_style("whitegrid"))
        mpl.rcParams.update(_SETTINGS)
        yield


def new_figure(
    width: float,
    height: float,
    columns: int = 1,
    ratios: tuple[float, ...] = (),
    rows: int = 1,
    heights: Sequence[float] = (),
) -> tuple[Figure, list[Axes]]:
    """Return a figure of that size in inches, and its axes row by row.

    pyplot's global state is not used.
    """
    figure = Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, width_ratios=ratios or None, height_ratios=heights or None)
    for axes in grid.flat:
        sns.despine(ax=axes)
    return figure, list(grid.flat)


def new_halves(
    width: float, heights: tuple[float, float], ratios: Sequence[float]
) -> tuple[Figure, SubFigure, list[Axes]]:
    """Return a figure with one panel above and one per ratio of widths below, its upper half, and the axes in order.

    `width` and `heights` are inches; the halves do not share margins.
    """
    figure = Figure(figsize=(width, sum(heights)), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    FigureCanvasAgg(figure)
    halves: np.ndarray = figure.subfigures(2, 1, squeeze=False, height_ratios=list(heights))
    upper, lower = halves.flat
    above = upper.subplots()
    panels = [above, *lower.subplots(1, len(ratios), squeeze=False, width_ratios=list(ratios)).flat]
    for axes in panels:
        sns.despine(ax=axes)
    return figure, upper, panels


def new_panels(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many panels of that size in inches, two in a line, and their axes row by row."""
    columns = min(count, 2)
    lines = -(-count // columns)
    figure, panels = new_figure(columns * width, 0.8 + lines * height, columns, rows=lines)
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def set_log_axis(axes: Axes, which: str, values: np.ndarray) -> None:
    """Make an axis logarithmic if all values [n] are positive and span a factor of three.

    Ticks are plain numbers; NaN is ignored.
    """
    # range
    known = values[np.isfinite(values)]
    if not len(known) or known.min() <= 0 or known.max() / known.min() < 3:
        return
    span = known.max() / known.min()

    # scale and ticks
    subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if span < 20 else (1.0, 2.0, 5.0) if span < 300 else (1.0,)
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def set_ticks(axes: Axes, values: np.ndarray) -> None:
    """Put ticks of the x axis at the values [n] themselves where these are few.

    A value within 15 % of the tick before it has none.
    """
    places = sorted({round(float(value), 3) for value in values if np.isfinite(value)})
    kept: list[float] = []
    for place in places:
        if not kept or place / kept[-1] > 1.15:
            kept.append(place)

    if 2 <= len(kept) <= 12 and kept[0] > 0:
        axes.xaxis.set_major_locator(FixedLocator(kept))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
        axes.xaxis.set_minor_locator(NullLocator())


def add_question(figure: Figure, text: str) -> None:
    """Write the question of a figure of several panels above them, in lines that fit the figure."""
    lines = textwrap.wrap(text, int(figure.get_figwidth() * TITLE_CHARACTERS))
    figure.suptitle("\n".join(lines), x=0.012, ha="left", fontsize=10.5, fontweight="bold")


def add_note(figure: Figure, text: str) -> None:
    """Write small type below all panels, at the left, in lines that fit the figure."""
    lines = textwrap.wrap(text, int(figure.get_figwidth() * NOTE_CHARACTERS))
    figure.supxlabel("\n".join(lines), x=0.012, ha="left", fontsize=8, color=MUTED)


def number_steps(axes: Axes, count: int) -> None:
    """Number the columns of a map of steps from 1, all of them where they are few, else every fifth."""
    shown = [step for step in range(1, count + 1) if count <= _MOST_NUMBERED or step % 5 == 0]
    axes.set_xticks([step - 0.5 for step in shown], [str(step) for step in shown])


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names, a repetition with its number: a label may stand for several rows."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def fix_layout(figure: Figure) -> None:
    """Compute the layout once and keep it: labels are placed by its pixels, and formats share it.

    Titles and notes that are wider than their room continue on another line, and labels in margins are spread.
    """
    if figure.get_layout_engine() is None or isinstance(figure.get_layout_engine(), PlaceHolderLayoutEngine):
        return
    figure.draw_without_rendering()
    for _ in range(_MOST_ROUNDS):
        wrapped = [_wrap_text(text, room) for text, room in _titles(figure)]
        if not any(wrapped):
            break
        figure.draw_without_rendering()

    figure.set_layout_engine("none")
    for axes in figure.axes:
        _thin_ticks(axes)
    spread_margins(figure)


def _thin_ticks(axes: Axes) -> None:
    """Leave out ticks of the x axis whose numbers would cover the number before them."""
    low, high = sorted(axes.get_xlim())
    ticks = [(tick.get_loc(), tick.label1) for tick in axes.xaxis.get_major_ticks() if tick.label1.get_text()]
    boxes = [(text.get_window_extent(), place) for place, text in ticks if low <= place <= high]
    kept, end = [], -np.inf
    for box, place in sorted(boxes, key=lambda one: (one[0].x0, one[1])):
        if box.x0 >= end:
            kept.append(place)
            end = box.x1 + _TICK_GAP
    if len(kept) < len(boxes):
        axes.xaxis.set_major_locator(FixedLocator(kept))


def _titles(figure: Figure) -> Iterator[tuple[Text, float]]:
    """Yield the titles, names of axes and notes of a figure, each with the pixels that a line of it may take."""
    for axes in figure.axes:
        frame = axes.get_window_extent()
        yield axes._left_title, frame.width  # type: ignore[attr-defined]
        yield axes.xaxis.label, frame.width
        yield axes.yaxis.label, frame.height
    for text in (figure._suptitle, figure._supxlabel):  # type: ignore[attr-defined]
        if text is not None:
            yield text, figure.bbox.x1 * 0.976


def _wrap_text(text: Text, room: float) -> bool:
    """Break the lines of a text that are wider than its room; return whether any was."""
    words, box = text.get_text(), text.get_window_extent()
    length = box.height if text.get_rotation() == 90 else box.width
    if not words or length <= room:
        return False
    width = max(_FEWEST_CHARACTERS, int(max(map(len, words.split("\n"))) * room / length) - 1)
    wrapped = "\n".join(part for line in words.split("\n") for part in textwrap.wrap(line, width) or [""])
    text.set_text(wrapped)
    return wrapped != words


_OFTEN = 32
"""Of the colors that a palette has besides the inks, those that are most frequent."""
_MOST_WEIGHT = 64
"""Pixels of a color that count in the choice of the others."""


def render_figure(figure: Figure) -> dict[str, bytes]:
    """Return the figure as {"png": bytes, "svg": bytes}, without dates or versions inside."""
    fix_layout(figure)

    result = {}
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, dpi=DPI, metadata=metadata)
        result[kind] = stream.getvalue()
    result["png"] = _with_palette(result["png"])
    return result


def _with_palette(png: bytes) -> bytes:
    """Return a PNG of at most 256 colors, a third of the size; lines and letters look the same, photographs nearly.

    The inks and their blends with white are kept, the most frequent colors, and a median cut of all others; a color
    becomes the nearest of these.
    """
    # colors that are there
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.int64)
    codes = pixels[..., 0] * 65536 + pixels[..., 1] * 256 + pixels[..., 2]
    found, places, counts = np.unique(codes, return_inverse=True, return_counts=True)

    # colors that stay
    order = np.argsort(-counts, kind="stable")
    often, others = order[:_OFTEN], order[_OFTEN:]
    cut = _median_cut(np.repeat(found[others], np.minimum(counts[others], _MOST_WEIGHT)), 256 - len(_BLENDS) - _OFTEN)
    kept = _split(np.unique(np.concatenate([found[often], _BLENDS, cut])))
    parts = np.array_split(_split(found), len(found) // 512 + 1)
    nearest = np.concatenate([((part[:, None] - kept) ** 2).sum(-1).argmin(1) for part in parts])

    stream = io.BytesIO()
    image = Image.fromarray(nearest[places].reshape(codes.shape).astype(np.uint8), "P")
    image.putpalette(kept.astype(np.uint8).tobytes())
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _median_cut(codes: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many colors that stand for all of these; one number each, as often as it counts."""
    if len(np.unique(codes)) <= most:
        return codes
    row = Image.fromarray(_split(codes).astype(np.uint8)[None]).quantize(most, Image.Quantize.MEDIANCUT, kmeans=1)
    table = np.array(row.getpalette(), dtype=np.int64).reshape(-1, 3)
    return table @ np.array([65536, 256, 1])


def _split(codes: np.ndarray) -> np.ndarray:
    """Return red, green and blue [n, 3] of colors that are one number each [n]."""
    return np.stack([codes // 65536, codes // 256 % 256, codes % 256], axis=1)


def _blend_inks() -> np.ndarray:
    """Return the inks of figures and their blends with white as one number each."""
    inks = np.array([int(color[1:], 16) for color in (*COLORS, BASELINE, OTHERS, MUTED, FAINT)])
    shares = np.linspace(1.0, 0.0, 8, endpoint=False)[:, None, None]
    blends = np.rint(255 - shares * (255 - _split(inks))).astype(np.int64).reshape(-1, 3)
    return blends @ np.array([65536, 256, 1])


_BLENDS = _blend_inks()
