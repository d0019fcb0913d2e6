"""What every printed table is made of: cells with the value that sorts them and a footnote, headings, a title."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.report.formats import DASH, format_interval, format_number

MARK = " (reproduced)"
"""Follows the name of a method of which a published figure was reproduced here."""


@dataclass(frozen=True)
class Cell:
    """A cell's text, the value that sorts it, and its footnotes: reasons and caveats."""

    text: str
    value: float | str = ""
    notes: tuple[str, ...] = ()
    unfolds: Table | None = None
    """A smaller table below the text, where the language can fold one away."""


@dataclass(frozen=True)
class Heading:
    """A column's key in machine formats, and its printed heading with the unit."""

    key: str
    text: str
    words: bool = False
    """Whether the column holds words, which stand to the left."""


@dataclass(frozen=True)
class Table:
    """A table: what was measured, what has to be known to read it, headings, a row of cells per line."""

    title: str
    conditions: tuple[str, ...]
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def notes(self) -> list[str]:
        """Return the distinct notes in order of appearance; footnote marks are places, from 1."""
        return list(dict.fromkeys(note for row in self.rows for cell in row for note in cell.notes))

    def marks(self, cell: Cell) -> str:
        """Return a cell's footnote marks, such as "1, 3"."""
        places = sorted({self.notes.index(note) + 1 for note in cell.notes})
        return ", ".join(str(place) for place in places)


def interval_text(value: float, low: float, high: float, digits: int = 3) -> str:
    """Return "value [low, high]", with a dash for an open end, and no brackets where nothing is known of both."""
    return f"{format_number(value, digits)} {format_interval(low, high, digits)}".strip()


def dash(*notes: str) -> Cell:
    """Return an empty cell with its reasons."""
    return Cell(DASH, "", notes)


def number_cell(value: float, text: str, *notes: str) -> Cell:
    """Return a cell that sorts by its value."""
    return Cell(text, "" if math.isnan(value) else float(value), tuple(note for note in notes if note))


def marked_cell(text: str, name: str, reproduced: str, *notes: str) -> Cell:
    """Return the cell of a method's name; a mark and a note follow where a published figure was reproduced."""
    return Cell(text + (MARK if reproduced else ""), name, tuple(filter(None, (*notes, reproduced))))
