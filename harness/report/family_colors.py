"""One color for each family of methods, the same in every figure, page and suite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SOLVER, SCHEDULE = "solver", "schedule"
BASELINE, DARK_BASELINE = "#1f2430", "#e8eaee"
"""The ink of the baseline, on white and on a dark ground: no family has it."""
OTHERS, DARK_OTHERS = "#aab0bb", "#6b7280"
"""The grey of what has no color of its own, on white and on a dark ground."""
MUTED = "#6b7280"
"""The grey of words and lines that explain, on white."""
COLORS = ("#2370bd", "#c57118", "#216e45", "#e93684", "#a05ef7", "#6e3108", "#331bb6", "#8d197a", "#004858")
"""On white, each at a contrast of 3.6 or more, and apart for readers without red or green cones."""
DARK_COLORS = ("#34a9fe", "#faac27", "#67fe8e", "#ff7b8c", "#d1afe2", "#b8742e", "#8968f3", "#d654bc", "#78f0f8")
"""The same families on a dark ground, at a contrast of 4.5 or more."""


def family_color(family: str, families: Sequence[str], dark: bool = False) -> str:
    """Return the color of a family by its place among all families, which are in the order of `order_families`.

    Those after the ninth, and families that are not listed, are grey.
    """
    place = families.index(family) if family in families else len(COLORS)
    if place >= len(COLORS):
        return DARK_OTHERS if dark else OTHERS
    return (DARK_COLORS if dark else COLORS)[place]


def order_families(known: Iterable[str], found: Iterable[str] = ()) -> tuple[str, ...]:
    """Return families in the order in which they get colors: solver, schedule, then those known, then those found.

    `known` are those of the registry, so that a suite that lacks some of them has no other colors.
    `found` are those of rows whose methods are not registered here.
    """
    names = dict.fromkeys([SOLVER, SCHEDULE, *sorted(set(known)), *sorted(set(found))])
    return tuple(name for name in names if name)
