"""Style, axes and legends of every figure, and its bytes, which are equal on every rebuild."""

from __future__ import annotations

import contextlib
import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine, PlaceHolderLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from pandas import DataFrame
from PIL import Image

DPI = 150
INK, MUTED, FAINT = "#1f2430", "#6b7280", "#d5d9e0"
DASHES = (0, (4, 2))
# Okabe & Ito 2008 and Tol 2021, without shades too pale for white.
# They are distinct for colour-blind readers; markers help.
COLORS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#882255", "#56b4e9", "#999933", "#332288")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
MOST_SERIES = 8
"""Series with a color of their own in one figure, the baseline's black line among them; the others are grey."""
OTHERS = "others, in the tables"
NOTE_CHARACTERS, TITLE_CHARACTERS = 14.0, 10.5
"""Characters of a note and of a title in an inch."""
_SETTINGS = {
    "font.family": ["DejaVu Sans"], "font.size": 9, "axes.titlesize": 10.5, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.labelsize": 9, "axes.edgecolor": "#9aa1ad", "axes.labelcolor": INK,
    "axes.titlecolor": INK, "axes.titlepad": 9, "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED,
    "grid.color": "#eceef2", "grid.linewidth": 0.8, "legend.frameon": False, "legend.fontsize": 8.5,
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white", "text.parse_math": False,
    "svg.hashsalt": "oneclock", "svg.fonttype": "path", "path.simplify": False, "lines.linewidth": 1.4,
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Colour and marker of one method, the same in every figure of a report."""

    color: str
    marker: str
    width: float

    def legend_name(self, series: str) -> str:
        """Return the series' name in a legend: all grey ones share an entry."""
        return OTHERS if self == GREY else series


GREY = Look("#aab0bb", "o", 0.9)


@contextlib.contextmanager
def report_style() -> Iterator[None]:
    """Apply our matplotlib settings inside the block only, whatever the user's are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(sns.axes_style("whitegrid"))
        mpl.rcParams.update(_SETTINGS)
        yield


def assign_looks(rows: DataFrame, first: Sequence[str] = ()) -> dict[str, Look]:
    """Return a look per series: black for the baseline, seven colors, grey for the others.

    Those in `first` get colors first, then series of many rows, then by name.
    """
    # order
    names = sorted(rows["series"].unique())
    sizes = rows["series"].value_counts()
    bold = [name for name in names if rows.loc[rows["series"] == name, "is_baseline"].any()]
    wanted = [name for name in first if name in names]
    rest = sorted(names, key=lambda name: (-sizes[name], name))
    chosen = list(dict.fromkeys([*bold, *wanted, *rest]))[:MOST_SERIES]

    # looks, by name: the order of colors does not depend on figures
    result, place = {}, 0
    for name in names:
        if name in bold or name not in chosen:
            result[name] = Look(INK, "o", 2.2) if name in bold else GREY
            continue
        result[name] = Look(COLORS[place % len(COLORS)], MARKERS[(place + 1) % len(MARKERS)], 1.4)
        place += 1
    return result


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
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, width_ratios=ratios or None, height_ratios=heights or None)
    for axes in grid.flat:
        sns.despine(ax=axes)
    return figure, list(grid.flat)


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


def add_panel_legend(figure: Figure, panels: list[Axes]) -> None:
    """Put a legend of all that any panel shows at the right, in order of the names, grey ones last."""
    handles = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    names = sorted(handles, key=lambda name: (name == OTHERS, name))
    figure.legend([handles[name] for name in names], names, loc="outside right center")


def add_question(figure: Figure, text: str) -> None:
    """Write the question of a figure of several panels above them, in lines that fit the figure."""
    lines = textwrap.wrap(text, int(figure.get_figwidth() * TITLE_CHARACTERS))
    figure.suptitle("\n".join(lines), x=0.012, ha="left", fontsize=10.5, fontweight="bold")


def add_note(figure: Figure, text: str) -> None:
    """Write small type below all panels, at the left, in lines that fit the figure."""
    lines = textwrap.wrap(text, int(figure.get_figwidth() * NOTE_CHARACTERS))
    figure.supxlabel("\n".join(lines), x=0.012, ha="left", fontsize=8, color=MUTED)


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

    A title that is wider than its room continues on another line.
    """
    if figure.get_layout_engine() is None or isinstance(figure.get_layout_engine(), PlaceHolderLayoutEngine):
        return
    figure.draw_without_rendering()
    wrapped = [_wrap_title(axes) for axes in figure.axes]
    if any(wrapped):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _wrap_title(axes: Axes) -> bool:
    """Break the left title of axes into lines that end with the axes; return whether it was too wide."""
    text = axes.get_title(loc="left")
    box, room = axes._left_title.get_window_extent(), axes.get_window_extent()  # type: ignore[attr-defined]
    if not text or box.width <= room.width:
        return False
    axes.set_title("\n".join(textwrap.wrap(text, max(12, int(len(text) * room.width / box.width)))), loc="left")
    return True


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
    """Return a PNG of at most 256 colors, a third of the size; lines and letters look the same."""
    stream = io.BytesIO()
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()
