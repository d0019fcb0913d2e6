"""The end of a run: a compact table, the report's sentences, what is wrong, how to go on, the path of the report."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.text import Text

from harness.screen.final_table import FinalTable, fit_table, full_title, plain_lines, read_final_tables

if TYPE_CHECKING:
    import pandas as pd

    from harness.api import Tables

SUMMARY = "summary.txt"
"""In a results folder: what the report says in a few sentences, one a line."""
_MOST_LINES = 40
"""Rows of a table on a terminal; a file or a pipe gets all."""
_MOST_NAMES = 5


def show_end(tables: Tables, next_steps: Sequence[str] = ()) -> None:
    """Print how a run ended: results to stdout, all else to stderr, the path of the report last.

    On a terminal tables fit its width; elsewhere they are plain, in full, with a tab between columns.
    """
    out = Console(highlight=False) if sys.stdout.isatty() else None
    for line in result_lines(tables.folder, out.width if out else None):
        _print(line, out)
    sys.stdout.flush()

    # messages
    from harness.report.live import PAGE

    is_terminal = sys.stderr.isatty()
    err = Console(stderr=True, highlight=False) if is_terminal else None
    for line in (*wrong_sentences(tables), *exit_code_sentences(tables), *next_steps):
        _print(line, err, sys.stderr)
    _print(f"report: {tables.folder / PAGE}", err, sys.stderr)


def show_errors(tables: Tables) -> None:
    """Print what is wrong, and what exit code 1 means, to stderr; nothing where all is well."""
    for line in (*invalid_sentences(tables), *exit_code_sentences(tables)):
        print(line, file=sys.stderr)


def result_lines(folder: Path, width: int | None) -> Iterator[str]:
    """Yield the final tables and the report's sentences, for a terminal of this width or, with None, for a pipe."""
    yield from table_lines(read_final_tables(folder), folder, width)
    summary = folder / SUMMARY
    if summary.is_file():
        yield from summary.read_text(encoding="utf-8").splitlines()


def table_lines(tables: Iterable[FinalTable], folder: Path, width: int | None) -> Iterator[str]:
    """Yield each table with its title, and an empty line after it."""
    for table in tables:
        lines = plain_lines(table) if width is None else fit_table(table, width)
        shown = lines if width is None else lines[: _MOST_LINES + 1]
        yield full_title(table, shown)
        yield from shown
        if width is not None and len(lines) > _MOST_LINES + 1:
            yield f"and {len(lines) - _MOST_LINES - 1} more in {folder / 'leaderboard.md'}"
        yield ""


def wrapped(sentences: Iterable[str], width: int | None) -> Iterator[str]:
    """Yield sentences in lines of at most this width, as they are where it is None."""
    for one in sentences:
        yield from [one] if width is None else textwrap.wrap(one, width, break_long_words=False)


def wrong_sentences(tables: Tables) -> list[str]:
    """Return one sentence for each thing that is wrong with a run's rows."""
    trials = _planned_rows(tables)
    disturbed, returned = trials[_filled(trials["disturbed"])], trials[_filled(trials["returned"])]
    sentences = invalid_sentences(tables)
    if len(disturbed):
        sentences.append(
            f"timed while other work ran, so with wider intervals of time, which may not separate close rows: "
            f"{_names(disturbed)}"
        )
    if len(returned):
        sentences.append(
            f"preparing returned {returned['returned'].iloc[0]}, so nothing is claimed: {_names(returned)}"
        )
    return sentences


def invalid_sentences(tables: Tables) -> list[str]:
    """Return one sentence for each row that is not VALID."""
    trials = _planned_rows(tables) if tables.planned else tables.trials
    return [
        f"{_name(row)} is {row['verdict']} and does not rank: {row['reasons']}"
        for _, row in trials[trials["verdict"] != "VALID"].iterrows()
    ]


def exit_code_sentences(tables: Tables) -> list[str]:
    """Return what exit code 1 means; nothing where every planned trial has a VALID row."""
    if tables.all_valid:
        return []
    rows = _planned_rows(tables)
    valid, failed = (rows["verdict"] == "VALID").sum(), (rows["status"] == "failed").sum()
    again = f"; the same command tries the {failed} that failed again" if failed else ""
    return [
        f"exit code 1 means: {len(tables.planned) - valid} of {len(tables.planned)} planned trials have no VALID row; "
        f"all other rows and the report stand{again}"
    ]


def _planned_rows(tables: Tables) -> pd.DataFrame:
    """Return the rows of the trials that this run had planned."""
    return tables.trials[tables.trials["trial_id"].isin(tables.planned)]


def _filled(column: pd.Series) -> pd.Series:
    return column.notna() & (column != "")


def _names(trials: pd.DataFrame) -> str:
    names = [_name(row) for _, row in trials.iterrows()]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _name(row: pd.Series) -> str:
    from harness.schema.trial_name import trial_name

    return trial_name(row["network"], row["method"], row["steps"])


def _print(line: str, console: Console | None, file: TextIO | None = None) -> None:
    """Print a line; a terminal wraps a sentence between words."""
    if console is None:
        print(line, file=file or sys.stdout)
    else:
        console.print(Text(line))
