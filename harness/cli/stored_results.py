"""What the verb `show` prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from harness.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from harness.report.analysis.derive import Analysis
    from harness.runs.tables import Tables

_STORE = "store.json"


def find_folder(where: str, results: Path) -> Path:
    """Return the results folder of a suite below `results`, or the one with that path.

    Raises UsageError for neither, and names what there is.
    """
    for path in (results / where, Path(where)):
        if (path / _STORE).is_file():
            return path
    known = sorted(path.parent.name for path in results.glob(f"*/{_STORE}"))
    there = f"{results} has {', '.join(known)}{did_you_mean(where, known)}" if known else f"{results} has none"
    raise UsageError(f'found no results "{where}"; expected a suite that was run or a folder of results; {there}')


def show_results(folder: Path, row: str | None) -> None:
    """Print the leaderboard of a results folder, or the sheet of one row; damage goes to stderr."""
    from harness import api
    from harness.planning.method_facts import collect_facts
    from harness.report.analysis.derive import derive
    from harness.screen.trial_sheet import describe_trial

    tables = api.load(folder)
    for problem in tables.damage:
        typer.echo(f"oneclock: {problem}", err=True)
    analysis = derive(tables.by_name, collect_facts())
    width = Console().width if sys.stdout.isatty() else None

    lines = _board_lines(tables, analysis, width) if row is None else describe_trial(analysis, folder, row, width)
    for line in lines:
        typer.echo(line)


def _board_lines(tables: Tables, analysis: Analysis, width: int | None) -> Iterator[str]:
    """Yield the tables and sentences of a report that is made now, then what is wrong with rows."""
    from harness.report.analysis.comparisons import find_comparisons
    from harness.report.leaderboard import build_leaderboard
    from harness.report.quality_csv import pivot_csv, time_to_quality_csv
    from harness.screen.ending import invalid_sentences, table_lines, wrapped
    from harness.screen.final_table import make_final_tables

    board = build_leaderboard(analysis, find_comparisons(analysis))
    yield from table_lines(make_final_tables(pivot_csv(board), time_to_quality_csv(board)), tables.folder, width)
    yield from wrapped(board.summary_text.splitlines(), width)

    # rows that do not rank, and those of other plans
    yield from wrapped(invalid_sentences(tables), width)
    if len(tables.others):
        yield f"rows of other plans, which are not shown: {len(tables.others)}"
