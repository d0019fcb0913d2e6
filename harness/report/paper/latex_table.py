r"""A table of a paper as LaTeX with booktabs, as wide as a column or as a page.

An interval stands as super- and subscript of its value, by the macro \oneclockinterval{value}{low}{high}, which a
document may define otherwise before it reads the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

from harness.report.formats import DASH, escape_latex
from harness.report.paper.paper_table import PaperTable, common_network, without_network
from harness.report.tables.cells import Cell

COLUMN_INCHES, PAGE_INCHES = 3.3, 6.9
"""Widths of a column and of a page."""
_POINTS = 72.27
"""TeX's points in an inch."""
_LETTER, _SMALL_LETTER, _GAP = 4.2, 3.1, 6.0
"""Points of an average letter at 8 points, of one at 6 points, and between two columns."""
_INTERVAL = re.compile(r"(≤ |≥ )?(-?[\d.]+(?:e[+-]\d+)?)×? \[(\S+), (\S+)\](.*)")
_NOT_REACHED = "not reached"
_PARTLY = re.compile(r"reached in (\d+ of \d+) trainings")
_MACROS = r"""\providecommand{\oneclockinterval}[3]{$#1^{#3}_{#2}$}
\providecommand{\oneclockfit}[1]{\setbox0=\hbox{#1}\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\copy0}\else\leavevmode\copy0\fi}
"""


@dataclass(frozen=True)
class LatexTable:
    """A table's file, and how it fits."""

    text: str
    inches: float
    """Its estimated width at 8 points."""

    @property
    def is_wide(self) -> bool:
        """Whether it takes both columns of a page."""
        return self.inches > COLUMN_INCHES

    @property
    def shrinks_to(self) -> float:
        """Return by what share LaTeX makes it smaller; 1 where it fits a page."""
        return min(1.0, PAGE_INCHES / self.inches)


def latex_table(table: PaperTable, where: str) -> LatexTable:
    """Return the file of a table; `where` names data set and device for its caption."""
    table = without_network(table)
    inches = _estimate_points(table) / _POINTS
    kind = "table*" if inches > COLUMN_INCHES else "table"
    notes = table.notes
    label = f"tab:oneclock-{table.stem}"

    # from the first rule to the last
    body = [r"\toprule", *_headings(table), r"\midrule"]
    for line in table.lines:
        body.append(" & ".join(_latex_cell(cell, notes) for cell in (line.label, *line.cells)) + r" \\")
    body.append(r"\bottomrule")

    lines = [
        rf"\begin{{{kind}}}[t]\centering\footnotesize\setlength{{\tabcolsep}}{{3pt}}\renewcommand{{\arraystretch}}{{1.2}}",
        rf"\caption{{{escape_latex(_caption(table, where))}}}\label{{{label}}}",
        rf"\oneclockfit{{\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}@{{}}}}",
        *body,
        r"\end{tabular}}",
        # what its marks mean
        *_footnotes(table, notes),
        rf"\end{{{kind}}}",
    ]
    return LatexTable(_MACROS + "\n".join(lines) + "\n", inches)


def _caption(table: PaperTable, where: str) -> str:
    network = common_network(table)
    on = f"{where}, network {network}" if network else where
    return f"{table.title}: {on}."


def _headings(table: PaperTable) -> list[str]:
    """Return the line of headings, below one of their groups where there are any."""
    groups = [(name, len(list(found))) for name, found in groupby(table.columns, lambda column: column.group)]
    headings = " & ".join(["Method", *(_narrow(column.heading) for column in table.columns)]) + r" \\"
    if not any(name for name, _ in groups):
        return [headings]

    cells, rules, place = [""], [], 2
    for name, count in groups:
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape_latex(name)}}}")
        if name:
            rules.append(rf"\cmidrule(lr){{{place}-{place + count - 1}}}")
        place += count
    return [" & ".join(cells) + r" \\", "".join(rules), headings]


def _narrow(heading: str) -> str:
    """Return a heading with one word a line, except for what stands in brackets or is short."""
    words = re.findall(r"\([^)]*\)|\S+", heading)
    if len(words) < 2:
        return escape_latex(heading)
    lines = r"\\".join(map(escape_latex, words))
    return rf"\begin{{tabular}}[b]{{@{{}}r@{{}}}}{lines}\end{{tabular}}"


def _latex_cell(cell: Cell, notes: list[str]) -> str:
    marks = ",".join(sorted({_mark(notes.index(note)) for note in cell.notes}))
    mark = rf"\,\textsuperscript{{{marks}}}" if marks else ""
    return _latex_text(cell.text) + mark


def _mark(place: int) -> str:
    """Return a footnote's letter, a to z, then aa, ab and so on."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return letters[place] if place < len(letters) else _mark(place // len(letters) - 1) + letters[place % len(letters)]


def _latex_text(text: str) -> str:
    """Return a cell's text; one interval becomes the macro's arguments."""
    text = _shorten(text)
    match = _INTERVAL.fullmatch(text)
    if match is None:
        return escape_latex(text)
    sign, value, low, high, rest = match.groups()
    numbers = "".join(f"{{{_latex_number(one)}}}" for one in (value, low, high))
    return rf"{escape_latex((sign or '').strip())}\oneclockinterval{numbers}{escape_latex(rest)}"


def _shorten(text: str) -> str:
    """Return a cell's words as a paper has room for them; a footnote says what "in 2 of 3" means."""
    if text.startswith(_NOT_REACHED):
        return _NOT_REACHED
    return _PARTLY.sub(r"in \1", text)


def _latex_number(text: str) -> str:
    if text == DASH:
        return r"\mbox{--}"
    digits, _, power = text.partition("e")
    return rf"{digits}\mathrm{{e}}{{{power}}}" if power else digits


def _footnotes(table: PaperTable, notes: list[str]) -> list[str]:
    """Return the lines below a table."""
    sentences = [rf"\textsuperscript{{{_mark(place)}}} {escape_latex(note)}." for place, note in enumerate(notes)]
    if any(_INTERVAL.fullmatch(cell.text) for line in table.lines for cell in line.cells):
        sentences.append(r"Super- and subscripts: ends of the 95\,\% interval.")
    if any(cell.text.startswith("≤") for line in table.lines for cell in line.cells):
        sentences.append(r"$\leq$: reached at the smallest step count, a bound.")
    if any(_PARTLY.fullmatch(cell.text) for line in table.lines for cell in line.cells):
        sentences.append("In 2 of 3: reached in so many of the trainings.")

    # what is not shown
    if table.not_first:
        sentences.append(f"{table.not_first} further lines are not shown.")
    if table.not_reached:
        sentences.append(f"{table.not_reached} further lines reach no target.")
    if not sentences:
        return []
    return ["", r"\smallskip\parbox{\linewidth}{\scriptsize\raggedright", *sentences, "}"]


def _estimate_points(table: PaperTable) -> float:
    """Return the width at 8 points: each column as wide as its widest cell or heading, and the gaps between."""
    notes = table.notes
    columns = [[_cell_points(line.label, notes) for line in table.lines]]
    for place, column in enumerate(table.columns):
        words = re.findall(r"\([^)]*\)|\S+", column.heading)
        heading = max(map(len, words)) * _LETTER
        columns.append([heading, *(_cell_points(line.cells[place], notes) for line in table.lines)])
    return sum(map(max, columns)) + _GAP * (len(columns) - 1)


def _cell_points(cell: Cell, notes: list[str]) -> float:
    small = sum(len(_mark(notes.index(note))) + 1 for note in cell.notes)
    match = _INTERVAL.fullmatch(cell.text)
    if match is None:
        return len(_shorten(cell.text)) * _LETTER + small * _SMALL_LETTER
    sign, value, low, high, rest = match.groups()
    letters = len((sign or "").strip()) + len(value) + len(rest)
    return letters * _LETTER + (max(len(low), len(high)) + small) * _SMALL_LETTER
