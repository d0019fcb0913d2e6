"""The verb `compare`: what it prints, and the condition that makes it fail."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.report.analysis.derive import Analysis
    from harness.report.analysis.two_rows import FigureChange, FolderChange, RowChange

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FIGURES = ("fid", "time", "speedup", "flops")
_MOST_NAMES = 8


@dataclass(frozen=True)
class Condition:
    """`FIGURE OPERATOR NUMBER`, on the ratio of the second's figure over the first's."""

    figure: str
    sign: str
    bound: float

    def holds(self, change: RowChange) -> bool:
        """Return whether a ratio meets it, of a difference that is shown."""
        found: FigureChange = {"fid": change.fid, "flops": change.flops}.get(self.figure, change.time)
        ratio = found.value
        if self.figure == "fid":
            ratio = 1 + found.value / found.before
        elif self.figure == "speedup":
            ratio = 1 / found.value
        shown = found.is_shown or self.figure == "flops"  # these are counted, and have no error
        return shown and _OPERATORS[self.sign](ratio, self.bound)


def parse_condition(text: str) -> Condition:
    """Return the condition of a text such as `fid > 1.05`; raises UsageError for another."""
    found = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?)\s*", text)
    if found is None or found[1] not in _FIGURES:
        raise UsageError(
            f'--fail-if is "{text}"; expected one of {", ".join(_FIGURES)}, then <, <=, > or >=, then a ratio of '
            "the second's figure over the first's, such as 'fid > 1.05'"
        )
    return Condition(found[1], found[2], float(found[3]))


def compare_two(names: Sequence[str], results: Path, fail_if: Sequence[str]) -> tuple[list[str], bool]:
    """Return the lines of a comparison, and whether a condition holds for one of its rows.

    `names` are two results folders, or a folder and two of its rows. Raises UsageError for others.
    """
    conditions = [parse_condition(text) for text in fail_if]
    if len(names) == 2:
        found = _folders(names, results)
        lines, rows = list(_folder_lines(found, names)), found.rows
    elif len(names) == 3:
        rows = [_rows_of_one(names, results)]
        lines = list(_change_lines(rows[0]))
    else:
        raise UsageError(
            f"found {len(names)} names; expected two results folders, or one folder and two of its rows, such as "
            "`oneclock compare quick unet-16:ddim-10 unet-16:unipc-10`"
        )

    # what fails
    failed = [(text, row) for text, one in zip(fail_if, conditions, strict=True) for row in rows if one.holds(row)]
    lines += [f"--fail-if '{text}' holds for {row.other}" for text, row in failed]
    return lines, bool(failed)


def _analysis(folder: Path) -> Analysis:
    from harness import api
    from harness.errors import StoreDamagedError
    from harness.report.analysis.derive import derive

    tables = api.load(folder)
    if tables.damage:
        raise StoreDamagedError(f"{tables.damage[0]}; see `oneclock doctor {folder}`")
    return derive(tables.by_name)


def _folders(names: Sequence[str], results: Path) -> FolderChange:
    from harness.cli.stored_results import find_folder
    from harness.report.analysis.two_rows import compare_folders

    return compare_folders(*(_analysis(find_folder(name, results)) for name in names))


def _rows_of_one(names: Sequence[str], results: Path) -> RowChange:
    import pandas as pd

    from harness.cli.stored_results import find_folder
    from harness.report.analysis.two_rows import compare_rows, named_rows
    from harness.report.export import find_trial

    analysis = _analysis(find_folder(names[0], results))
    ranked = named_rows(analysis)
    if not ranked:
        raise UsageError(f"{names[0]} has no VALID row; expected two that rank")
    rows = pd.DataFrame(list(ranked.values()))
    return compare_rows(analysis, find_trial(rows, names[1]), find_trial(rows, names[2]))


def _change_lines(change: RowChange) -> Iterator[str]:
    """Yield what changes from one row to another, a figure a line."""
    yield f"{change.name} -> {change.other}"
    for label, one, is_ratio in (
        ("FID", change.fid, False),
        ("time", change.time, True),
        ("FLOPs", change.flops, True),
    ):
        yield f"  {label:6} {_values(one, label)}  {_difference(one, is_ratio)}".rstrip()


def _folder_lines(found: FolderChange, names: Sequence[str]) -> Iterator[str]:
    """Yield a line for each row that both have, what that comes to, and the names that one has alone."""
    from harness.cli.listing import in_columns

    if not found.rows:
        yield f"no row of {names[0]} has the name of a row of {names[1]}"
    yield from in_columns([
        (one.name, f"FID {_values(one.fid, 'FID')}", _difference(one.fid, False), f"time {_difference(one.time, True)}")
        for one in found.rows
    ])  # fmt: skip

    # what it comes to
    fids, times = (
        [getattr(one, name) for one in found.rows if getattr(one, name).is_shown] for name in ("fid", "time")
    )
    yield (
        f"of {len(found.rows)} rows, by Holm at 5 % each for FIDs and for times: FID lower {_count(fids, below=0)}, "
        f"higher {len(fids) - _count(fids, below=0)}; faster {_count(times, below=1)}, "
        f"slower {len(times) - _count(times, below=1)}"
    )
    for name, alone in zip(names, (found.only_before, found.only_after), strict=True):
        if alone:
            more = f" and {len(alone) - _MOST_NAMES} more" if len(alone) > _MOST_NAMES else ""
            yield f"only in {name}: {', '.join(alone[:_MOST_NAMES])}{more}"


def _count(changes: Sequence[FigureChange], below: float) -> int:
    return sum(one.value < below for one in changes)


def _values(change: FigureChange, label: str) -> str:
    from harness.report.formats import format_number

    unit = {"time": " of the clock's", "FLOPs": " G"}.get(label, "")
    factor = 1e-9 if label == "FLOPs" else 1.0
    return f"{format_number(change.before * factor)} -> {format_number(change.after * factor)}{unit}"


def _difference(change: FigureChange, is_ratio: bool) -> str:
    """Return a difference, or a ratio, with its interval and whether it is shown."""
    from harness.report.formats import format_interval, format_number

    if change.why_not:
        return change.why_not
    value = f"x {format_number(change.value)}" if is_ratio else f"{change.value:+.3g}"
    interval = format_interval(change.low, change.high)
    counted = change.p != change.p
    finding = "" if counted else ("shown" if change.is_shown else "not shown")
    return " ".join(part for part in (value, interval, change.note, finding) if part)
