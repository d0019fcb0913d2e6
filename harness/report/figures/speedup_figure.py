"""The figure of speed-up at equal quality: a dot per row by its value, and the bounds apart below."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame, Series

from harness.report.analysis.derive import ResourceClass, ranking_speedup
from harness.report.analysis.limits import BELOW_LIMIT, LimitFid
from harness.report.family_colors import MUTED
from harness.report.figures.dot_plot import Dot, count_lines, plot_dots
from harness.report.figures.limit_marks import BELOW_MARK, find_rows_below
from harness.report.figures.margin_labels import break_name
from harness.report.figures.plot_style import add_note, new_figure, unique_names
from harness.report.figures.plotted_times import is_disturbed
from harness.report.figures.quality_marks import DISTURBED, drawable_rows, named_looks
from harness.report.figures.series_looks import Look
from harness.report.formats import format_number, one_line
from harness.schema.trial_name import trial_name

MOST_VALUES, MOST_BOUNDS = 16, 6
_NAME = "equal_quality_speedup"
_LINE = 56


def draw_equal_quality(one: ResourceClass, limits: dict[str, LimitFid]) -> Figure | None:
    """Draw a dot per method at its best speed-up at equal quality; bounds are open triangles below."""
    # data
    rows = rows_with_speedup(one, limits)
    if rows.empty:
        return None
    best = rows.drop_duplicates("series")  # of each method
    values, bounds = best[~best["is_bound"]], best[best["is_bound"]]
    shown = [*values.index[:MOST_VALUES], *bounds.index[:MOST_BOUNDS]]
    looks = named_looks(one)

    # axes and marks
    dots = [_to_dot(row, looks) for _, row in rows.loc[shown].iterrows()]
    figure, (axes,) = new_figure(9.6, 2.1 + 0.21 * count_lines(dots))
    plot_dots(axes, dots, "bounds alone", include=[1.0])
    axes.axvline(1.0, color=MUTED, linewidth=1.0, zorder=1)

    # labels
    axes.set_title("How much faster than the baseline at equal FID?")
    axes.set_xlabel("Speed-up over the baseline at equal FID (×)", loc="right")
    drawn = rows.loc[shown]
    notes = ["the best row of each method"]
    notes += ["open triangle: a bound, the FID lies beyond the baseline's curve"] if drawn["is_bound"].any() else []
    notes += [f"{len(rows) - len(shown)} more rows in the tables"] if len(rows) > len(shown) else []
    notes += [f"{BELOW_MARK} {BELOW_LIMIT}"] if drawn["is_below"].any() else []
    notes += [DISTURBED] if is_disturbed(drawn).any() else []
    add_note(figure, "; ".join(notes))
    return figure


def rows_with_speedup(one: ResourceClass, limits: dict[str, LimitFid]) -> DataFrame:
    """Return the serial rows that have a speed-up at equal quality or a bound: values first, highest first.

    Added columns: `series`, `lead` (the speed-up or its bound), `name` (of the trial, unique),
    `is_bound`, `is_below` (the network's limit).
    Parallel executors are left out: they save latency, and this ratio is of time in a batch.
    """
    rows = drawable_rows(one, "speedup")
    rows = rows[rows["executor"] == "serial"]
    names = [one_line(trial_name(row["network"], row["method"], row["steps"])) for _, row in rows.iterrows()]
    rows = rows.assign(
        lead=ranking_speedup(rows),
        name=Series(unique_names(names), rows.index, dtype=object),
        is_bound=rows[_NAME].isna(),
        is_below=find_rows_below(rows, limits),
    )
    ordered = ["is_bound", "lead", "fid", "trial_id"]
    return rows.dropna(subset=["lead"]).sort_values(ordered, ascending=[True, False, True, True])


def _to_dot(row: Series, looks: dict[str, Look]) -> Dot:
    """Return the row's dot: its value, or a triangle towards where its bound is open."""
    bound = (">" if row["lead"] == row[f"{_NAME}_at_least"] else "<") if row["is_bound"] else ""
    mark = BELOW_MARK if row["is_below"] else ""
    faint = bool(is_disturbed(row.to_frame().T)[0])
    return Dot(
        break_name(row["name"], _LINE) + mark, looks[row["series"]], row["lead"], row[f"{_NAME}_low"],
        row[f"{_NAME}_high"], bound, f"FID {format_number(row['fid'])}", faint,
    )  # fmt: skip
