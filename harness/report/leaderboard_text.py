"""The leaderboard's model printed as Markdown, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from pandas import DataFrame

from harness.report.analysis import CLASS
from harness.report.derived import DERIVED
from harness.report.formats import csv_text, latex, markdown
from harness.report.leaderboard import Cell, Leaderboard, Table
from harness.report.sections import Section
from harness.schema import TRIALS

NO_ROWS = "No VALID row yet: nothing ranks."

# A CSV file leads with what the leaderboard leads with; every other column of the schema and the analysis follows.
_FIRST = ("method", "network", "steps", "nfe", *(name for name in DERIVED if name.startswith("equal_quality")), "fid",
          "fid_low", "fid_high", "fid_floor", "tie_group", "speedup", "speedup_low", "speedup_high")  # fmt: skip
_ALL = (*CLASS, *(column.name for column in TRIALS), *DERIVED)
CSV_COLUMNS = (
    "verdict",
    "reasons",
    *_FIRST,
    *dict.fromkeys(c for c in _ALL if c not in {*_FIRST, "verdict", "reasons"}),
)


def to_markdown(board: Leaderboard, sections: Mapping[str, Section] = MappingProxyType({})) -> str:
    """Return the leaderboard for a README or an issue: facts, tables, footnotes, and the rows that do not rank.

    `sections` are further tables by title; those without rows are left out.
    """
    lines = ["# Leaderboard", "", markdown(board.counts) + ".", ""]
    for table in board.tables:
        lines += [f"## {markdown(table.title)}", "", *(f"- {markdown(fact)}" for fact in table.facts), ""]
        lines.append("| " + " | ".join(markdown(heading.text) for heading in table.headings) + " |")
        lines.append("| " + " | ".join("---" if place < 2 else "---:" for place in range(len(table.headings))) + " |")
        for row in table.rows:
            lines.append("| " + " | ".join(_markdown_cell(cell, table.notes) for cell in row) + " |")
        lines += ["", *(f"<sup>{mark}</sup> {markdown(note)}  " for mark, note in enumerate(table.notes, 1)), ""]
    lines += [] if board.tables else [NO_ROWS, ""]
    for title, section in sections.items():
        lines += _markdown_section(title, section) if section.rows else []
    if board.invalid:
        lines += [f"## Rows that do not rank ({len(board.invalid)})", "", "| Trial | Verdict | Reasons |"]
        lines += ["| --- | --- | --- |"]
        lines += ["| " + " | ".join(markdown(text) for text in row) + " |" for row in board.invalid]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_section(title: str, section: Section) -> list[str]:
    lines = [f"## {markdown(title)}", "", "| " + " | ".join(markdown(text) for text in section.headings) + " |"]
    lines.append("| " + " | ".join("---" for _ in section.headings) + " |")
    return [*lines, *("| " + " | ".join(markdown(text) for text in row) + " |" for row in section.rows), ""]


def _markdown_cell(cell: Cell, notes: list[str]) -> str:
    mark = f" <sup>{notes.index(cell.note) + 1}</sup>" if cell.note else ""
    return markdown(cell.text) + mark


def to_csv(board: Leaderboard) -> str:
    """Return every column of every row, numbers in full (shortest text that reads back), rows that do not rank last."""
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
        return csv_text(value)
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if not isinstance(value, float) or value != value:
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(float(value))


def to_latex(board: Leaderboard) -> str:
    r"""Return tables for \input; no package is needed. Booktabs makes the rules nicer, graphicx fits the width."""
    lines = [r"\providecommand{\toprule}{\hline}\providecommand{\midrule}{\hline}\providecommand{\bottomrule}{\hline}"]
    lines.append(
        r"\providecommand{\fitline}[1]{\ifdefined\resizebox\resizebox{\linewidth}{!}{#1}\else\leavevmode\hbox{#1}\fi}"
    )
    for table in board.tables:
        lines += _latex_table(table)
    if not board.tables:
        lines.append(NO_ROWS)
    if board.invalid:
        lines += [
            "",
            r"\begin{table}[p]\centering\scriptsize",
            rf"\caption{{Rows that do not rank: {len(board.invalid)}}}",
        ]
        lines += [r"\begin{tabular}{p{0.4\linewidth}lp{0.4\linewidth}}", r"\toprule", r"Trial & Verdict & Reasons \\"]
        lines += [r"\midrule", *(" & ".join(latex(text) for text in row) + r" \\" for row in board.invalid)]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


# Columns that a page is wide enough for; the others are in the Markdown, the HTML and the CSV.
_PAGE = (
    "method", "equal_quality_speedup", "fid", "fid_floor", "tie_group", "nfe", "latency_seconds",
    "throughput_images_per_second", "speedup", "flops_per_image",
)  # fmt: skip


def _latex_table(table: Table) -> list[str]:
    places = [place for place, heading in enumerate(table.headings) if heading.key in _PAGE]
    rows = [tuple(row[place] for place in places) for row in table.rows]
    notes = list(dict.fromkeys(cell.note for row in rows for cell in row if cell.note))
    lines = ["", r"\begin{table}[p]\centering\scriptsize\setlength{\tabcolsep}{3pt}"]
    lines += [
        rf"\caption{{{latex(table.title)}}}",
        rf"\fitline{{\begin{{tabular}}{{l{'r' * (len(places) - 1)}}}",
        r"\toprule",
    ]
    lines += [" & ".join(latex_heading(table.headings[place].text) for place in places) + r" \\", r"\midrule"]
    lines += [" & ".join(_latex_cell(cell, notes) for cell in row) + r" \\" for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}}", "", r"\smallskip\begin{minipage}{\linewidth}\raggedright"]
    lines += [rf"$^{{{mark}}}$ {latex(note)}.\\" for mark, note in enumerate(notes, 1)]
    lines += [*(latex(fact) + r"\par" for fact in table.facts), r"\end{minipage}", r"\end{table}"]
    return lines


def latex_heading(text: str) -> str:
    """Return a heading broken into lines at its words, so that columns stay narrow."""
    words = r"\\".join(latex(word) for word in text.split(" "))
    return rf"\begin{{tabular}}[b]{{@{{}}c@{{}}}}{words}\end{{tabular}}"


def _latex_cell(cell: Cell, notes: list[str]) -> str:
    mark = rf"$^{{{notes.index(cell.note) + 1}}}$" if cell.note else ""
    return latex(cell.text) + mark
