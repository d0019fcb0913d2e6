"""The leaderboard printed as Markdown, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from pandas import DataFrame

from harness.report.analysis.derive import CLASS
from harness.report.analysis.derived import DERIVED
from harness.report.formats import Section, format_csv_value
from harness.report.leaderboard import Leaderboard
from harness.report.page import render_latex, render_markdown
from harness.report.tables.cells import Cell, Heading, Table
from harness.schema import TRIALS

# A CSV file has the leaderboard's columns first; all others of the schema and the analysis follow.
_FIRST = ("network", "method", "steps", "nfe", "fid", "fid_low", "fid_high", "fid_floor", "tie_group", "speedup",
          "speedup_low", "speedup_high")  # fmt: skip
_ALL = (*CLASS, *(column.name for column in TRIALS.columns), *DERIVED)
CSV_COLUMNS = (
    "verdict",
    "reasons",
    *_FIRST,
    *dict.fromkeys(c for c in _ALL if c not in {*_FIRST, "verdict", "reasons"}),
)
_LINES_PER_PAGE = 36
"""Lines of a LaTeX table that fit a page with its footnotes."""


def to_markdown(board: Leaderboard, sections: Mapping[str, Section] = MappingProxyType({})) -> str:
    """Return the leaderboard for a README or an issue, with footnotes and the rows that do not rank.

    `sections` are further tables by title; those without rows are left out.
    """
    return render_markdown("leaderboard.md.j2", board=board, sections=sections)


def to_csv(board: Leaderboard) -> str:
    """Return every column of every row; rows that do not rank come last.

    Numbers are in full: the shortest text that reads back as the same float64.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for source in (*(one.source for one in board.classes), board.invalid_source):
        writer.writerows(_csv_rows(source))
    return stream.getvalue()


def _csv_rows(source: DataFrame) -> list[list[str]]:
    complete = source.reindex(columns=list(CSV_COLUMNS))
    return [[format_csv_value(value) for value in row] for row in complete.astype(object).to_numpy()]


def to_latex(board: Leaderboard, sections: Mapping[str, Section] = MappingProxyType({})) -> str:
    r"""Return the main tables for \input; no package is needed. `sections` are further tables by title, as there.

    With booktabs the rules look nicer, with graphicx a table fits the width.
    A table that is longer than a page goes on in further ones.
    """
    tables = [
        (one.title, part, one.conditions if first and table is one.main[0] else ())
        for one in board.classes
        for table in one.main
        for first, part in _split_pages(table)
    ]
    for title, section in sections.items() if board.classes else ():
        tables += [(title, part, ()) for _, part in _split_pages(_as_table(section))] if section.rows else []
    return render_latex("leaderboard.tex.j2", tables=tables, invalid=board.invalid)


def _as_table(section: Section) -> Table:
    """Return a plain table with its notes below; its first column holds names, which stand to the left."""
    headings = tuple(Heading(text, text, words=place == 0) for place, text in enumerate(section.headings))
    rows = tuple(tuple(Cell(text) for text in row) for row in section.rows)
    return Table("All rows", section.notes, headings, rows)


def _split_pages(table: Table) -> list[tuple[bool, Table]]:
    """Return the parts of a table that fit a page each, and whether a part is the first."""
    starts = range(0, max(len(table.rows), 1), _LINES_PER_PAGE)
    parts = []
    for start in starts:
        title = table.title if len(starts) == 1 else f"{table.title}, part {start // _LINES_PER_PAGE + 1}"
        rows = table.rows[start : start + _LINES_PER_PAGE]
        parts.append((start == 0, replace(table, title=title, rows=rows)))
    return parts
