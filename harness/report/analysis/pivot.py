"""The pivot: a line per method on a network, a column per number of evaluations, FIDs in the cells.

Serial lines stand under evaluations of the network. Columns are the step counts at one evaluation a step.
A row of another NFE (Heun has two a step, adaptive ones a mean) stands under the nearest column within a quarter.
Its cell names its NFE. Beyond a quarter the NFE, rounded, is a column of its own.
Of two rows of one line under one column the nearer is shown; the table of trials has both.
Lines of parallel executors stand under steps: their NFE counts speculation, which the serial answer does not need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, Series

from harness.report.analysis.method_lines import MethodLine

_NEAR = 1.25
"""Greatest ratio of a row's NFE to the column that it stands under."""


@dataclass(frozen=True)
class PivotLine:
    """A method line and its row under each column, None where it has none."""

    line: MethodLine
    cells: tuple[Series | None, ...]


@dataclass(frozen=True)
class Pivot:
    """The columns, numbers of evaluations or steps in ascending order, and the lines in the order given."""

    columns: tuple[int, ...]
    lines: tuple[PivotLine, ...]


def build_pivot(lines: list[MethodLine]) -> Pivot:
    """Return the pivot of lines that are all serial, or all parallel."""
    rows = [row for line in lines for _, row in line.rows.iterrows()]
    columns = _columns(DataFrame(rows), any(line.parallel for line in lines)) if rows else ()

    found = []
    for line in lines:
        cells: dict[int, Series] = {}
        for _, row in line.rows.iterrows():
            column = _nearest(_work(row, line.parallel), columns)
            if column is not None:
                cells[column] = _nearer(cells.get(column), row, column, line.parallel)
        found.append(PivotLine(line, tuple(cells.get(column) for column in columns)))
    return Pivot(columns, tuple(found))


def stands_elsewhere(row: Series, column: int, parallel: bool) -> bool:
    """Return whether the row's work differs from the column that it stands under, so that its cell must name it."""
    return _work(row, parallel) != column


def _work(row: Series, parallel: bool) -> float:
    """Return what decides the column: evaluations of a serial row, steps where they are not known or not serial."""
    return float(row["steps"] if parallel or math.isnan(row["nfe"]) else row["nfe"])


def _columns(rows: DataFrame, parallel: bool) -> tuple[int, ...]:
    work = [_work(row, parallel) for _, row in rows.iterrows()]
    plain = {int(one) for one, steps in zip(work, rows["steps"], strict=True) if one == steps}
    far = {max(1, round(one)) for one in work if one == one and _nearest(one, tuple(plain)) is None}
    return tuple(sorted(plain | far))


def _nearest(work: float, columns: tuple[int, ...]) -> int | None:
    """Return the column nearest in ratio, None beyond a quarter."""
    if not (work > 0 and columns):
        return None
    away = [abs(math.log(work / column)) for column in columns]
    best = int(np.argmin(away))
    return columns[best] if away[best] <= math.log(_NEAR) else None


def _nearer(first: Series | None, second: Series, column: int, parallel: bool) -> Series:
    if first is None:
        return second
    away = [abs(math.log(_work(row, parallel) / column)) for row in (first, second)]
    return first if away[0] <= away[1] else second
