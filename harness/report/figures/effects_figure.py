"""The figure of a factorial design: by what each change of a factor multiplies FID and time."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from harness.report.analysis.effects_table import describe_change, describe_levels, name_term
from harness.report.analysis.factorial_effects import FID, TIME, DesignRuns, Effect, find_effects
from harness.report.family_colors import COLORS, MUTED
from harness.report.figures.dot_plot import Dot, plot_dots
from harness.report.figures.margin_labels import break_name
from harness.report.figures.plot_style import INK, add_note, add_question, new_figure
from harness.report.figures.series_looks import Look
from harness.report.formats import format_number, one_line

MOST_EFFECTS = 24
"""Of one design in the figure; the table has all."""
_NAME = 46
_LOOKS = {"given": Look(COLORS[1], "D", 1.4), "main": Look(COLORS[0], "o", 1.4), "interaction": Look(INK, "s", 1.4)}
_LABELS = {FID: "FID, × (below 1 is better)", TIME: "time per image in a batch, × (below 1 is better)"}


def draw_effects(designs: Sequence[DesignRuns]) -> Figure | None:
    """Draw the effects of each design as dots with intervals, FID at the left and time at the right; None without."""
    if not designs:
        return None
    shown = [_choose_changes(find_effects([runs])) for runs in designs]
    heights = [0.8 + 0.34 * len(changes) for changes in shown]
    figure, panels = new_figure(12.0, 1.2 + sum(heights), 2, rows=len(designs), heights=heights)

    # a line of panels for each design
    for place, (runs, changes) in enumerate(zip(designs, shown, strict=True)):
        for axes, response in zip(panels[2 * place : 2 * place + 2], (FID, TIME), strict=True):
            found = [(name, one[response]) for name, one in changes.items() if response in one]
            plot_dots(axes, [_to_dot(name, one) for name, one in found], include=[1.0])
            axes.axvline(1.0, color=MUTED, linewidth=1.0, zorder=1)
            where = f"{runs.network} on {runs.dataset}" if runs.network else runs.dataset
            axes.set(xlabel=_LABELS[response], title=one_line(where))
            is_second = response == TIME and len(found) == len(changes)
            axes.tick_params(labelleft=not is_second)  # the names are those of the panel at the left

    # labels
    add_question(figure, "What does each choice do to FID and to time, and which choices change what others do?")
    left_out = sum(len(find_effects([runs])) for runs in designs) // 2 - sum(map(len, shown))
    more = [f"{left_out} more in the tables"] if left_out > 0 else []
    notes = ["diamonds: at given levels; circles: averaged over all other factors; squares: interactions, ratios of "
             "ratios; intervals of 95 %", *more]  # fmt: skip
    add_note(figure, "; ".join(notes))
    return figure


def _choose_changes(effects: Sequence[Effect]) -> dict[str, dict[str, Effect]]:
    """Return the effects by name and response: at given levels first, then main effects, then interactions."""
    found: dict[str, dict[str, Effect]] = {}
    for one in sorted(effects, key=lambda one: (not one.given, len(one.term))):
        at = f" at {describe_levels(one.given)}" if one.given else ""
        name = break_name(one_line(f"{name_term(one.term)}: {describe_change(one)}{at}"), _NAME)
        found.setdefault(name, {})[one.response] = one
    return dict(list(found.items())[:MOST_EFFECTS])


def _to_dot(name: str, one: Effect) -> Dot:
    kind = "given" if one.given else "main" if len(one.term) == 1 else "interaction"
    return Dot(name, _LOOKS[kind], one.ratio, one.low, one.high, remark=f"×{format_number(one.ratio)}")
