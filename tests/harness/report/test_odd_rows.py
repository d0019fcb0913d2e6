"""A report is built of whatever a folder holds: odd rows cost their own figures, never the report."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.odd_rows import ODD_TEXTS, Tables, base, in_turn, odd_tables, with_values

from harness.report import build
from harness.report.build import build_report

CASES = dict(odd_tables())
csv.field_size_limit(10_000_000)  # parameters may be long
FILES = (
    "comparisons.csv", "gains.csv", "leaderboard.md", "leaderboard.csv", "pivot.csv", "time_to_quality.csv",
    "leaderboard.tex", "summary.txt", "leaderboard.html", "report.html",
)  # fmt: skip
NO_NUMBER = re.compile(r"(?<![\w.\[-])-?(?:nan|inf|NaN|Infinity)(?![\w-])")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no figure: figures have tests of their own below."""
    monkeypatch.setattr(build, "draw_all", lambda *_: {})


def built(folder: Path, tables: Tables) -> dict[str, str]:
    build_report(folder, tables)
    return {name: (folder / name).read_text(encoding="utf-8") for name in FILES}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_tables_and_pages_are_built_of_odd_rows(tmp_path: Path, undrawn: None, make: Callable[[], Tables]) -> None:
    files = built(tmp_path, make())

    # each file is what its ending says, without numbers that are none
    for name in (name for name in FILES if name.endswith(".csv")):
        lines = list(csv.reader(io.StringIO(files[name])))
        assert {len(line) for line in lines} <= {len(lines[0])}, name
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.csv", "pivot.csv", "time_to_quality.csv"):
        found = NO_NUMBER.search(files[name])
        assert not found, (name, files[name][max(0, found.start() - 200) : found.end()] if found else "")

    # and no text of a row is code
    for name in ("leaderboard.html", "report.html"):
        assert "<script>alert" not in files[name]


def test_names_are_shown_as_they_are_whatever_they_hold(tmp_path: Path, undrawn: None) -> None:
    files = built(tmp_path, in_turn(["method"], ODD_TEXTS))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in files["leaderboard.html"]
    assert r"\input" not in files["leaderboard.tex"]


def test_zero_evaluations_and_zero_flops_are_not_measured(tmp_path: Path, undrawn: None) -> None:
    """The rows stay, and what follows from the numbers is empty."""
    whole = built(tmp_path / "whole", base())["leaderboard.csv"]
    odd = built(tmp_path / "odd", with_values(nfe=0.0, flops_per_image=0.0))["leaderboard.csv"]
    one, other = (list(csv.DictReader(io.StringIO(text))) for text in (whole, odd))
    assert len(one) == len(other) > 0
    assert all(row["nfe"] for row in one)
    assert not any(row["nfe"] or row["flops_per_image"] for row in other)


DRAWN = ("no row", "one row", "one step count", "all failed", "all equal", "no clock", "all nfe 0.0", "all fid 0.0",
         "all flops_per_image nan", "all latency_seconds nan", "numbers -1.0 from 0", "numbers inf from 0",
         "numbers 1e+300 from 11", "odd methods", "all other numbers nan", "same rows under other ids")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", DRAWN)
def test_figures_are_drawn_of_odd_rows(tmp_path: Path, case: str) -> None:
    written = build_report(tmp_path, CASES[case]())
    assert all(path.is_file() for path in written)


def test_a_failure_while_a_report_is_made_leaves_the_old_one_whole(
    tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = built(tmp_path, base())
    monkeypatch.setattr(build, "render_report", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_report(tmp_path, with_values(fid=1.0))
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in FILES} == before
