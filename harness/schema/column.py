"""A column and a table: what a results folder holds, each declared once."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

Row = dict[str, str | int | float | bool | None]
"""Values of a row by column; a column that is not among them is empty."""

TEXT, WHOLE, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()


@dataclass(frozen=True)
class Column:
    """One column: name (with its unit, where it has one), Arrow type, and one sentence."""

    name: str
    type: pa.DataType
    sentence: str


@dataclass(frozen=True)
class StoredTable:
    """One table. What stores, merges, loads and analyses tables reads this declaration and needs no other."""

    name: str
    columns: tuple[Column, ...]
    order: tuple[str, ...] = ()
    """Columns by which the rows of one attempt are sorted, so that bytes do not depend on who computed what when."""
