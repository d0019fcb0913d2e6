"""The figures of a report, drawn from one ranked resource class; intervals are 95 % everywhere."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from harness.report.analysis.alike import alike, part_names
from harness.report.analysis.calibration import calibration_figure
from harness.report.analysis.derive import Analysis, ResourceClass, lead
from harness.report.analysis.executor_rows import overlapping
from harness.report.analysis.pareto import pareto_front
from harness.report.figures.parallel_figures import (
    error_by_refinement,
    iterations_by_tolerance,
    speedup_by_devices,
    speedup_by_distance,
)
from harness.report.figures.plot_labels import label_front
from harness.report.figures.plot_style import (
    FAINT,
    INK,
    MUTED,
    Look,
    log_axis,
    looks,
    new_figure,
    settle,
    style,
    ticks_at,
    to_bytes,
)
from harness.report.figures.schedule_figures import error_by_steps, levels_by_step
from harness.report.figures.search_figure import search_front
from harness.report.figures.share_figure import network_share
from harness.report.figures.training_figure import quality_by_training
from harness.report.figures.width_figure import widths_by_step
from harness.report.formats import count, number, one_line

MOST_DOTS = 45
FEWEST_ROWS = 3  # a class after the first is drawn from this many rows on; the table shows the others
_DASHES = (0, (4, 2))
_GREY = Look(MUTED, "o", 1.0)

CAPTIONS = {
    "headline": "Quality against time with its Pareto front, and each method's best speed-up at equal quality.",
    "fid-time": "FID against time, relative to the clock trial (left) and in milliseconds for one image alone (right).",
    "fid-flops": "FID against floating-point operations per image, 2 per multiply-add.",
    "fid-nfe": "FID against network evaluations per image, one line per method.",
    "equal-quality": "Speed-up at equal quality: the baseline's time to reach the row's FID, over the row's time.",
    "schedules": "Schedules compared under the baseline's solver.",
    "levels": "Where each schedule puts its steps: noise level against step.",
    "truncation": "Truncation error against the number of steps, one line per schedule and denoiser.",
    "fid-steps": "FID against the number of steps, one line per schedule and denoiser.",
    "network-share": "How much of the network ran at each noise level, for rows that leave a part of it out.",
    "widths": "Which width of a slimmable network ran at each step.",
    "searches": "What searches tried: FID on the search's own images against arithmetic, and what was chosen.",
    "calibration": "What a method predicts of its own error beside the truth, by noise level and block.",
    "training": "FID against training time, for networks that were trained with several budgets.",
    "refinements": "How refinements of parallel executors close in on the serial answer.",
    "tolerances": "Refinements of parallel executors until an image stops, against their tolerance.",
    "distances": "Speed-up over the serial run against distance to its answer, one line per executor.",
    "devices": "Speed-up over the serial run against devices: measured on real ones, and replayed on virtual ones.",
}


def draw_all(analysis: Analysis) -> dict[str, bytes]:
    """Return file name -> bytes of every figure that has something to show; classes after the first carry a number."""
    files: dict[str, bytes] = {}
    with style():
        for place, one in enumerate(analysis.classes, 1):
            if place > 1 and len(one.rows) < FEWEST_ROWS:
                continue
            for name, draw in _DRAWERS.items():
                figure = draw(one, analysis)
                if figure is not None:
                    stem = name if place == 1 else f"{name}-{place}"
                    files |= {f"{stem}.{kind}": data for kind, data in to_bytes(figure).items()}
    return files


def fid_time(one: ResourceClass) -> Figure | None:
    """Return FID against relative time and against latency."""
    rows = _drawable(one, "relative_time")
    if rows.empty:
        return None
    figure, (left, right) = new_figure(11.5, _height(rows, 5.0), 2)
    relative = _scatter(left, rows, "relative_time", ("relative_time_low", "relative_time_high"))
    left.set(xlabel="Time per image relative to the clock trial", title="Quality against relative time")
    rows["latency_ms"] = 1e3 * rows["latency_seconds"]
    rows["latency_ms_low"], rows["latency_ms_high"] = (
        1e3 * rows["latency_low_seconds"],
        1e3 * rows["latency_high_seconds"],
    )
    absolute = _scatter(right, rows, "latency_ms", ("latency_ms_low", "latency_ms_high"))
    right.set(xlabel="Latency of one image alone (ms)", title="Quality against latency")
    _legend(figure, rows, front=True)
    settle(figure)
    label_front(left, relative)
    label_front(right, absolute)
    return figure


def fid_flops(one: ResourceClass) -> Figure | None:
    """Return FID against GFLOPs per image."""
    rows = _drawable(one, "flops_per_image")
    if rows.empty:
        return None
    figure, (axes,) = new_figure(8.4, _height(rows, 5.0))
    rows["gflops"] = rows["flops_per_image"] / 1e9
    front = _scatter(axes, rows, "gflops", None)
    axes.set(xlabel="GFLOPs per image (2 per multiply-add)", title="Quality against arithmetic")
    _legend(figure, rows, front=True)
    settle(figure)
    label_front(axes, front)
    return figure


def fid_nfe(one: ResourceClass) -> Figure | None:
    """Return FID against NFE, one line per method."""
    rows = _drawable(one, "nfe")
    if rows.empty:
        return None
    figure, (axes,) = new_figure(8.4, _height(rows, 5.0))
    _lines(axes, rows, looks(rows))
    axes.set(title="Quality against network evaluations")
    _legend(figure, rows)
    return figure


def schedules(one: ResourceClass) -> Figure | None:
    """Return FID against NFE per schedule, all else as in the baseline; None where there is only one schedule."""
    if one.baseline.empty:
        return None
    rows, first = _drawable(one, "nfe"), one.baseline.iloc[0]
    rows = rows[alike(rows, first, ("denoiser", "solver", "executor"))]
    rows = rows.assign(series=[one_line(name) for name in part_names(rows, "schedule")])
    if rows["series"].nunique() < 2:
        return None
    figure, (axes,) = new_figure(7.6, _height(rows, 4.6))
    _lines(axes, rows, looks(rows))
    axes.set(title=f"Schedules under {one_line(first['solver'])}")
    _legend(figure, rows)
    return figure


def equal_quality(one: ResourceClass) -> Figure | None:
    """Return a dot per row with its speed-up at equal quality; open triangles are bounds."""
    rows = _bars(one)
    if rows.empty:
        return None
    shown = rows.head(MOST_DOTS)
    figure, (axes,) = new_figure(8.4, 1.5 + 0.21 * len(shown))
    _dots(axes, shown, looks(rows))
    cut = f", the {MOST_DOTS} highest of {len(rows)}" if len(rows) > MOST_DOTS else ""
    axes.set_title(f"Speed-up at equal quality{cut}")
    return figure


def headline(one: ResourceClass) -> Figure | None:
    """Return one picture for a README: the front of quality and time beside each method's best speed-up."""
    rows, bars = _drawable(one, "relative_time"), _bars(one)
    if rows.empty or bars.empty:
        return None
    best = bars.drop_duplicates("series").head(14)
    figure, (left, right) = new_figure(12.5, max(5.2, 2.2 + 0.3 * len(best)), 2, (1.15, 1.0))
    others = {name for name, look in looks(rows).items() if look.color != INK} - set(best["series"])
    front = _scatter(left, rows, "relative_time", ("relative_time_low", "relative_time_high"), others)
    left.set(xlabel="Time per image relative to the clock trial", title="Lower left is better: quality against time")
    _dots(right, best, looks(rows))
    right.set_title("Best speed-up at equal quality, per method", loc="right")  # the names leave room on its left
    key = one.key
    subtitle = f"{key['dataset']}, N = {key['n_images']:.0f}; FID on {key['extractor']}; {key['device_name']}"
    figure.suptitle(one_line(subtitle), x=0.012, ha="left", fontsize=9, color=MUTED)
    figure.legend(*_headline_handles(rows, others), loc="outside lower center", ncols=3)
    settle(figure)
    label_front(left, front)
    return figure


_DRAWERS: dict[str, Callable[[ResourceClass, Analysis], Figure | None]] = {
    "headline": lambda one, _: headline(one),
    "fid-time": lambda one, _: fid_time(one),
    "fid-flops": lambda one, _: fid_flops(one),
    "fid-nfe": lambda one, _: fid_nfe(one),
    "equal-quality": lambda one, _: equal_quality(one),
    "schedules": lambda one, _: schedules(one),
    "levels": lambda one, analysis: levels_by_step(one.rows, analysis.steps),
    "truncation": lambda one, _: error_by_steps(one.rows, "truncation_error"),
    "fid-steps": lambda one, _: error_by_steps(one.rows[one.rows["truncation_error"].notna()], "fid"),
    "network-share": lambda one, analysis: network_share(one.rows, analysis.steps),
    "widths": lambda one, analysis: widths_by_step(one.rows, analysis.steps),
    "searches": lambda one, analysis: search_front(one.rows, analysis.searches),
    "calibration": lambda one, analysis: calibration_figure(one.rows, analysis.calibration),
    "training": lambda one, _: quality_by_training(one.rows),
    "refinements": lambda one, analysis: error_by_refinement(overlapping(one, analysis), analysis.refinements),
    "tolerances": lambda one, analysis: iterations_by_tolerance(overlapping(one, analysis)),
    "distances": lambda one, analysis: speedup_by_distance(overlapping(one, analysis)),
    "devices": lambda one, analysis: speedup_by_devices(overlapping(one, analysis), analysis.virtual),
}


def _drawable(one: ResourceClass, column: str) -> DataFrame:
    """Return the rows that have a FID and this column, with the name of the line they belong to."""
    rows = one.rows.copy()
    several = rows["network"].nunique() > 1
    names = rows["method"] + " @ " + rows["network"] if several else rows["method"]
    rows["series"] = [one_line(name) or "unnamed" for name in names]
    return rows.dropna(subset=["fid", column]).sort_values(["series", "nfe", "trial_id"], ignore_index=True)


def _bars(one: ResourceClass) -> DataFrame:
    rows = _drawable(one, "speedup")
    names = rows["series"].astype(str) + ", NFE " + rows["nfe"].map(count).astype(str)  # cast: there may be no rows
    rows = rows.assign(lead=lead(rows), name=names)
    return rows.dropna(subset=["lead"]).sort_values(["lead", "fid", "trial_id"], ascending=[False, True, True])


def _scatter(
    axes: Axes, rows: DataFrame, x: str, ends: tuple[str, str] | None, others: Collection[str] = ()
) -> list[tuple[float, float, str]]:
    """Draw every row with its intervals, a thin line through each method, and the Pareto front; return its labels.

    The series in `others` are drawn in one grey.
    """
    known = rows.dropna(subset=[x])
    for series, look in looks(rows).items():
        look = _GREY if series in others else look
        line = known[known["series"] == series].sort_values(x)
        axes.errorbar(
            line[x], line["fid"], yerr=_sides(line, "fid", ("fid_low", "fid_high")),
            xerr=_sides(line, x, ends) if ends else None, fmt="none", ecolor=look.color, elinewidth=0.9, alpha=0.55,
        )  # fmt: skip
        axes.plot(line[x], line["fid"], color=look.color, linewidth=look.width * 0.55, alpha=0.45, zorder=2)
        axes.plot(line[x], line["fid"], linestyle="", **_mark(look), zorder=4)
    front = known[pareto_front(known[x].to_numpy(), known["fid"].to_numpy())].sort_values(x)
    axes.plot(front[x], front["fid"], color=INK, linewidth=1.3, linestyle=_DASHES, drawstyle="steps-post", zorder=3)
    log_axis(axes, "x", known[x].to_numpy())
    log_axis(axes, "y", known["fid"].to_numpy())
    axes.set_ylabel("FID (lower is better)")
    axes.margins(0.09)
    return [(row[x], row["fid"], count(row["nfe"])) for _, row in front.iterrows()]


def _lines(axes: Axes, rows: DataFrame, styles: dict[str, Look]) -> None:
    for series, look in styles.items():
        line = rows[rows["series"] == series].sort_values("nfe")
        sides = _sides(line, "fid", ("fid_low", "fid_high"))
        axes.errorbar(line["nfe"], line["fid"], yerr=sides, fmt="none", ecolor=look.color, elinewidth=0.9, alpha=0.55)
        sns.lineplot(
            x=line["nfe"], y=line["fid"], ax=axes, color=look.color, linewidth=look.width, errorbar=None, sort=True
        )
        axes.plot(line["nfe"], line["fid"], linestyle="", **_mark(look), zorder=4)
    log_axis(axes, "x", rows["nfe"].to_numpy())
    log_axis(axes, "y", rows["fid"].to_numpy())
    ticks_at(axes, rows["nfe"].to_numpy())
    axes.set(xlabel="Network evaluations per image (NFE)", ylabel="FID (lower is better)")


def _dots(axes: Axes, rows: DataFrame, styles: dict[str, Look]) -> None:
    """Draw one row per dot, best on top, with its interval and its FID at the right."""
    name = "equal_quality_speedup"
    places = np.arange(len(rows))[::-1]
    for place, (_, row) in zip(places, rows.iterrows(), strict=True):
        look, value = styles[row["series"]], row["lead"]
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        if row["lead"] == row[f"{name}_at_least"] or row["lead"] == row[f"{name}_at_most"]:
            side = 1 if row["lead"] == row[f"{name}_at_least"] else -1
            axes.plot([value], [place], marker=">" if side > 0 else "<", markersize=7, color="white",
                      markeredgecolor=look.color, markeredgewidth=1.6, zorder=4)  # fmt: skip
        else:
            axes.plot([value], [place], linestyle="", **_mark(look), zorder=4)
        drawn = [value if np.isnan(end) else end for end in (low, high)]
        axes.plot(drawn, [place, place], color=look.color, linewidth=2.0, alpha=0.6, solid_capstyle="round", zorder=3)
        axes.annotate(
            f"FID {number(row['fid'])}", (1.0, place), (6, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", va="center", fontsize=7.5, color=MUTED, annotation_clip=False,
        )  # fmt: skip
    axes.axvline(1.0, color=MUTED, linewidth=1.0, zorder=1)
    axes.set_yticks(places, list(rows["name"]), fontsize=8.5, color=INK)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    log_axis(axes, "x", np.append(rows["lead"].to_numpy(), 1.0))
    axes.set_xlabel(
        "Speed-up over the baseline at equal FID (×)\nopen triangle: a bound, the FID lies beyond the baseline's curve",
        loc="right",
    )


def _sides(rows: DataFrame, value: str, ends: tuple[str, str]) -> np.ndarray:
    """Return [2, rows] distances to the ends of the interval; 0 where there is none."""
    low, high = rows[value] - rows[ends[0]], rows[ends[1]] - rows[value]
    return np.clip(np.nan_to_num(np.stack([low, high])), 0.0, None)


def _mark(look: Look) -> dict:
    return {
        "marker": look.marker,
        "color": look.color,
        "markersize": 6.8,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }


def _handles(rows: DataFrame, front: bool) -> tuple[list[Line2D], list[str]]:
    """Return the handles and the labels of a legend, worst FID on top as the lines lie, the front last."""
    styles = looks(rows)
    order = sorted(styles, key=lambda series: (-rows.loc[rows["series"] == series, "fid"].min(), series))
    handles = [Line2D([], [], linewidth=styles[series].width, **_mark(styles[series])) for series in order]
    if not front:
        return handles, order
    return [*handles, Line2D([], [], color=INK, linewidth=1.3, linestyle=_DASHES)], [*order, "Pareto front, with NFE"]


def _headline_handles(rows: DataFrame, others: Collection[str]) -> tuple[list[Line2D], list[str]]:
    """Return what the picture's right half does not name: the baseline, the methods in grey, the front."""
    base = [(look, f"{name} (baseline)") for name, look in looks(rows).items() if look.color == INK]
    grey = [(_GREY, f"{len(others)} more, in the tables")] if others else []
    handles = [Line2D([], [], linewidth=look.width, **_mark(look)) for look, _ in (*base, *grey)]
    front = Line2D([], [], color=INK, linewidth=1.3, linestyle=_DASHES)
    return [*handles, front], [*(name for _, name in (*base, *grey)), "Pareto front, with NFE"]


def _height(rows: DataFrame, least: float) -> float:
    """Return the inches that a legend of these rows needs beside the axes."""
    return max(least, 0.9 + 0.175 * (rows["series"].nunique() + 1))


def _legend(figure: Figure, rows: DataFrame, front: bool = False) -> None:
    figure.legend(*_handles(rows, front), loc="outside right center")
