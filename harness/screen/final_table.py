"""The compact table at the end of a run, read from the CSV files that the report wrote; nothing is computed anew."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.screen.row_words import crop_middle

MOST_COLUMNS = 8
_MOST_TARGETS = 2
_AT_SMALLEST, _NOT_REACHED = "reached at its smallest step count", "not reached"
_SHORT_STATES = {_NOT_REACHED: "no", "reached in some trainings": "some"}
_TIMED = {"throughput": "in a batch", "latency": "alone"}
"""How an image is made whose time ranks."""
_TIME, _SHORT_TIME = "ms to ", "ms→"
_UNSURE = "?"
_LEAST_NAME = 28
"""Shorter than that a name loses what tells it from others: rather fewer columns."""
_GAP = 2


@dataclass(frozen=True)
class TextCell:
    """A cell as it is printed, and shorter, without interval."""

    text: str
    short: str


@dataclass(frozen=True)
class FinalTable:
    """A table of one class of rows: the first column holds names."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[TextCell, ...], ...]
    timed: str = ""
    """What the columns of times hold."""


def read_final_tables(folder: Path) -> list[FinalTable]:
    """Return a table for each class of rows of a report, none where it wrote no rows that rank."""
    return make_final_tables(_read_text(folder / "pivot.csv"), _read_text(folder / "time_to_quality.csv"))


def make_final_tables(pivot_csv: str, times_csv: str) -> list[FinalTable]:
    """Return a table for each class of rows from the text of a report's two CSV files."""
    pivot, times = (list(csv.DictReader(io.StringIO(text, newline=""))) for text in (pivot_csv, times_csv))
    groups = dict.fromkeys((row["class"], row["executor"]) for row in pivot)
    return [_make_table(*group, pivot, times) for group in groups]


def fit_table(table: FinalTable, width: int) -> list[str]:
    """Return the lines of a table, none longer than the width.

    If it is too wide, intervals go first, then the middle of names, then columns from the right.
    """
    count = len(table.headings)
    for short in (False, True):
        lines = _grid(table, count, short)
        if _width(lines) <= width:
            return _aligned(lines)

    # intervals are gone: shorten names, then leave columns out
    while True:
        lines = _grid(table, count, short=True)
        longest = max(len(line[0]) for line in lines)
        name = longest - max(_width(lines) - width, 0)
        if name >= min(_LEAST_NAME, longest) or count == 1:
            return _aligned([[crop_middle(line[0], max(name, 1)), *line[1:]] for line in lines])
        count -= 1


def full_title(table: FinalTable, lines: Sequence[str]) -> str:
    """Return the title over these lines of a table: it explains what they hold, and nothing that they left out."""
    has_times = any(heading in lines[0] for heading in (_TIME, _SHORT_TIME))
    marks = {
        "± half the 95 % interval": any("±" in line for line in lines),
        f"{_UNSURE} its interval does not show that it reaches that FID": any(
            re.search(rf"\d{re.escape(_UNSURE)}(\s|$)", line) for line in lines
        ),
    }
    shown = [words for words, is_shown in marks.items() if is_shown]
    return table.title + (f"; {table.timed}" if has_times else "") + (f" ({'; '.join(shown)})" if shown else "")


def plain_lines(table: FinalTable) -> list[str]:
    """Return the lines of a table for files and pipes: aligned cells, in full, with a tab between columns."""
    lines = _grid(table, len(table.headings), short=False)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["\t".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _make_table(
    kind: str, executor: str, pivot: Sequence[dict[str, str]], times: Sequence[dict[str, str]]
) -> FinalTable:
    """Return the table of one class: limit, FID by evaluations, times to the FID targets."""
    mine = [row for row in pivot if (row["class"], row["executor"]) == (kind, executor)]
    names = list(dict.fromkeys(row["name"] for row in mine))
    by_cell = {(row["name"], row["column"]): row for row in mine}
    limits = {row["name"]: _fid_cell(row, "network_limit_fid") for row in mine}

    # the targets: the tightest ones that somebody reaches
    reached = {
        (row["name"], row["target"]): row for row in times if (row["class"], row["executor"]) == (kind, executor)
    }
    usable = {target for (_, target), row in reached.items() if not _state(row).startswith(_NOT_REACHED)}
    targets = sorted(usable, key=float)[:_MOST_TARGETS][::-1]

    # the columns of evaluations that are filled best
    shows_limit = any(cell.text for cell in limits.values())
    most = MOST_COLUMNS - 1 - shows_limit - len(targets)
    columns = _choose_columns([row["column"] for row in mine], most)

    unit = "steps" if executor != "serial" else "evaluations"
    timed = {_TIMED[row["ranked_by"]] for row in reached.values()}

    return FinalTable(
        title=f"{kind}: FID by {unit}",
        timed=f"ms an image {' or '.join(sorted(timed))} to an FID",
        headings=(
            "method",
            *(("limit",) if shows_limit else ()),
            *(f"FID at {column}" for column in columns),
            *(f"{_TIME}{float(target):g}" for target in targets),
        ),
        # a line for each method
        rows=tuple(
            (
                TextCell(name, name),
                *((limits[name],) if shows_limit else ()),
                *(_fid_cell(by_cell.get((name, column)), "fid") for column in columns),
                *(_time_cell(reached.get((name, target))) for target in targets),
            )
            for name in names
        ),
    )


def _choose_columns(filled: Sequence[str], most: int) -> list[str]:
    """Return at most so many columns, those with most cells, in the order of their numbers."""
    counts = {column: filled.count(column) for column in filled}
    best = sorted(counts, key=lambda column: (-counts[column], float(column)))[:most]
    return sorted(best, key=float)


def _fid_cell(row: dict[str, str] | None, column: str) -> TextCell:
    if row is None or not row[column]:
        return TextCell("", "")
    value = f"{float(row[column]):.3g}"
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    return TextCell(f"{value} ± {(float(high) - float(low)) / 2:.2g}" if low and high else value, value)


def _time_cell(row: dict[str, str] | None) -> TextCell:
    """Return the time to a target in ms.

    It has "≤" where the smallest step count reaches the target already, "?" where its interval has no upper end.
    """
    if row is None:
        return TextCell("", "")
    state, seconds = _state(row), row[f"{row['ranked_by']}_seconds"]
    if not seconds:
        return TextCell(state, _SHORT_STATES.get(state, state))
    bound = "≤ " if state == _AT_SMALLEST else ""
    unsure = "" if row[f"{row['ranked_by']}_seconds_high"] else _UNSURE
    text = f"{bound}{1e3 * float(seconds):.3g}{unsure}"
    return TextCell(text, text)


def _state(row: dict[str, str]) -> str:
    return row[f"{row['ranked_by']}_state"]


def _grid(table: FinalTable, count: int, short: bool) -> list[list[str]]:
    """Return headings and rows as text, their first `count` columns."""
    headings = [_short_heading(one) if short else one for one in table.headings[:count]]
    rows = [[cell.short if short else cell.text for cell in row[:count]] for row in table.rows]
    return [headings, *rows]


def _short_heading(heading: str) -> str:
    return heading.replace("FID at ", "FID@").replace(_TIME, _SHORT_TIME)


def _width(lines: Sequence[Sequence[str]]) -> int:
    return sum(_column_widths(lines)) + _GAP * (len(lines[0]) - 1)


def _column_widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines with names to the left and all else to the right."""
    widths = _column_widths(lines)
    return [(" " * _GAP).join(_cells(line, widths)).rstrip() for line in lines]


def _cells(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for place, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield f"{cell:>{width}}" if place else f"{cell:{width}}"
