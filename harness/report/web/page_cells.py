"""Cells, columns and notes as the page's block of data holds them: short lists in place of objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.report.tables.cells import Cell


@dataclass(frozen=True)
class PageColumn:
    """A column of a table of the page."""

    key: str
    text: str
    """The heading."""
    sentence: str
    """What the heading means: its tooltip, and its line in the definitions."""
    shown: bool = False
    """Whether it is shown at first; the column chooser shows the others."""
    words: bool = False
    card: bool = False
    """Whether it is part of the card that a row becomes on a narrow screen."""

    def as_data(self) -> dict[str, object]:
        """Return the column for the block of data."""
        flags = {name: True for name in ("shown", "words", "card") if getattr(self, name)}
        return {"key": self.key, "text": self.text, "tip": self.sentence, **flags}


@dataclass
class Notes:
    """Footnotes of a table; cells name them by their place."""

    texts: list[str] = field(default_factory=list)

    def places(self, notes: Sequence[str]) -> list[int]:
        """Return the places of notes, from 0; new ones are added."""
        self.texts += [note for note in dict.fromkeys(notes) if note not in self.texts]
        return [self.texts.index(note) for note in dict.fromkeys(notes)]


def cell_data(cell: Cell | None, notes: Notes) -> list[object] | None:
    """Return [text, value that sorts or None, [places of notes]]; None where there is nothing to show."""
    if cell is None or not (cell.text or cell.notes):
        return None
    value = cell.value if cell.value != "" and not _is_nan(cell.value) else None
    data: list[object] = [cell.text, _short(value)]
    return [*data, notes.places(cell.notes)] if cell.notes else data


def row_data(columns: Sequence[PageColumn], cells: Mapping[str, Cell], notes: Notes) -> list[list[object] | None]:
    """Return the cells of a row in the order of the columns."""
    return [cell_data(cells.get(column.key), notes) for column in columns]


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _short(value: float | str | None) -> float | str | None:
    """Return a number of seven significant digits, which sorts as the full one does."""
    return float(f"{value:.7g}") if isinstance(value, float) and math.isfinite(value) else value
