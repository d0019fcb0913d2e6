"""The rules of figures, over all figures on made-up tables: one question, few colours, nothing cut off or covered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from kit.all_figures_kit import FACTS, LONG, all_pictures, all_tables
from kit.figure_rules import broken_rules
from matplotlib.figure import Figure

from harness.report.analysis.derive import Analysis, derive
from harness.report.figures.draw import DRAWERS, paint_classes
from harness.report.figures.margin_labels import MarginLabel, break_name, place_apart
from harness.report.figures.plot_style import add_question, new_figure, report_style

CASES = {
    "usual": {},
    "many": {"networks": 2, "variants": 4},
    "long names": {"networks": 2, "name": LONG},
    "one word": {"name": "a" * 120},
}


class Case(NamedTuple):
    analysis: Analysis
    figures: dict[str, Figure]


@pytest.fixture(
    scope="module",
    params=[name if name == "long names" else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def case(request: pytest.FixtureRequest) -> Case:
    made = all_tables(**CASES[request.param])
    analysis = paint_classes(derive(made, FACTS))
    pictures = all_pictures(made["trials"])
    with report_style():
        drawn = {name: draw(analysis.classes[0], analysis, pictures) for name, draw in DRAWERS.items()}
    return Case(analysis, {name: figure for name, figure in drawn.items() if figure is not None})


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with report_style():
        yield


def test_every_figure_is_drawn(case: Case) -> None:
    assert sorted(case.figures) == sorted(DRAWERS)


@pytest.mark.parametrize("name", sorted(DRAWERS))
def test_every_figure_keeps_the_rules(case: Case, name: str) -> None:
    assert broken_rules(case.figures[name]) == []


def test_one_name_has_one_colour_in_all_figures(case: Case) -> None:
    colors: dict[str, set[str]] = {}
    for figure in case.figures.values():
        for label in figure.findobj(MarginLabel):
            if label.line is not None:
                name = label.get_text().replace("\n", "").removesuffix(" (baseline)")
                colors.setdefault(name, set()).add(str(label.get_color()))
    assert len(colors) > 5
    assert {name: found for name, found in colors.items() if len(found) > 1} == {}


def test_a_suite_without_some_families_has_the_same_colours(case: Case) -> None:
    one = case.analysis.classes[0]
    rows = one.rows
    part = replace(one, rows=rows[rows["family"] != "early exit"])
    again = paint_classes(replace(case.analysis, classes=(part,))).classes[0].rows
    before = rows.set_index("trial_id")["family_color"]
    assert again.set_index("trial_id")["family_color"].equals(before[again["trial_id"]])


def test_faults_are_found() -> None:
    figure, (axes,) = new_figure(4.0, 3.0)
    axes.plot([1, 2], [1, 2], color="#123456", marker="o")
    axes.set(ylabel="Share of something", title="No question")
    axes.text(1.5, 1.5, "a text")
    axes.text(1.51, 1.5, "another")
    axes.text(2.0, 2.0, "a text that ends far beyond the figure, since nothing holds it back at all", in_layout=False)
    found = "\n".join(broken_rules(figure))
    for fault in ("0 questions", "colours of no family", "beyond the figure", "overlap", "ends at"):
        assert fault in found


def test_a_figure_without_faults_has_none() -> None:
    figure, (axes,) = new_figure(4.0, 3.0)
    axes.set_ylim(0, 1)
    axes.set_ylabel("Share of something")
    add_question(figure, "Is this a question?")
    assert broken_rules(figure) == []


@pytest.mark.parametrize("seed", range(5))
def test_boxes_lie_apart_between_their_ends_and_where_they_were_if_there_is_room(seed: int) -> None:
    random = np.random.default_rng(seed)
    wanted, heights = random.uniform(0, 100, 7), random.uniform(2, 12, 7)
    placed = place_apart(wanted, heights, 0.0, 100.0)
    order = np.argsort(placed)
    gaps = np.diff(placed[order]) - (heights[order][1:] + heights[order][:-1]) / 2
    assert (gaps > -1e-9).all()
    assert (placed - heights / 2 >= -1e-9).all()
    assert (placed + heights / 2 <= 100 + 1e-9).all()
    assert (np.diff(wanted[order]) >= 0).all()
    far = np.arange(7) * 14.0 + 8.0
    assert place_apart(far, heights, 0.0, 100.0) == pytest.approx(far)


@pytest.mark.parametrize("name", ["ddim", LONG, "b" * 300, "a:b/c(d=1,e=2)/f", ""])
def test_no_line_of_a_name_is_much_longer_than_asked(name: str) -> None:
    lines = break_name(name, 20).split("\n")
    head, mark, tail = "".join(lines).partition("…")
    assert name.startswith(head)
    assert name.endswith(tail) if mark else head == name
    assert bool(mark) == (len(name) > 60)
    assert max(map(len, lines)) <= 30
    assert len(lines) <= 3
