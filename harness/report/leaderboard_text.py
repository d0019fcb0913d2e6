"""The leaderboard printed as Markdown, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from pandas import DataFrame

from harness.report.analysis.derive import CLASS
from harness.report.analysis.derived import DERIVED
from harness.report.formats import Section, escape_csv
from harness.report.leaderboard import Leaderboard, Table
from harness.report.page import render_latex, render_markdown
from harness.schema import TRIALS

# A CSV file has the leaderboard's columns first; all others of the schema and the analysis follow.
_FIRST = ("method", "network", "steps", "nfe", *(name for name in DERIVED if name.startswith("equal_quality")), "fid",
          "fid_low", "fid_high", "fid_floor", "tie_group", "speedup", "speedup_low", "speedup_high")  # fmt: skip
_ALL = (*CLASS, *(column.name for column in TRIALS.columns), *DERIVED)
CSV_COLUMNS = (
    "verdict",
    "reasons",
    *_FIRST,
    *dict.fromkeys(c for c in _ALL if c not in {*_FIRST, "verdict", "reasons"}),
)


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
    for source in (*(table.source for table in board.tables), board.invalid_source):
        writer.writerows(_csv_rows(source))
    return stream.getvalue()


def _csv_rows(source: DataFrame) -> list[list[str]]:
    complete = source.reindex(columns=list(CSV_COLUMNS))
    return [[_csv_value(value) for value in row] for row in complete.astype(object).to_numpy()]


def _csv_value(value: object) -> str:
    if isinstance(value, str):
        return escape_csv(value)
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if not isinstance(value, float) or value != value:
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))


# Columns that fit the width of a page; the others are in the Markdown, the HTML and the CSV.
_PAGE = (
    "method", "equal_quality_speedup", "fid", "fid_floor", "tie_group", "nfe", "latency_seconds",
    "throughput_images_per_second", "speedup", "flops_per_image",
)  # fmt: skip


def to_latex(board: Leaderboard) -> str:
    r"""Return tables for \input; no package is needed.

    With booktabs the rules look nicer, with graphicx a table fits the width.
    """
    tables = [_narrowed(table) for table in board.tables]
    return render_latex("leaderboard.tex.j2", tables=tables, invalid=board.invalid)


def _narrowed(table: Table) -> Table:
    """Return the table with the columns of `_PAGE`, and so with their notes alone."""
    places = [place for place, heading in enumerate(table.headings) if heading.key in _PAGE]
    rows = tuple(tuple(row[place] for place in places) for row in table.rows)
    return replace(table, headings=tuple(table.headings[place] for place in places), rows=rows)
