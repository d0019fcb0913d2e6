"""The verb `fetch`: published files by name, with a bar for each while it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from harness.errors import UsageError
from harness.fetching.download import OnBytes
from harness.fetching.fetch import fetch_all
from harness.fetching.fetch_card import FetchFile, fetch_names


def fetch_named(names: Sequence[str]) -> Iterator[str]:
    """Fetch what is called so, and yield the lines to print. Bars go to standard error, where that is a terminal."""
    if not names:
        raise UsageError(f"nothing to fetch is named; expected one or more of {', '.join(fetch_names())}")
    console = Console(stderr=True)
    with _make_bars(console) as bars:
        yield from fetch_all(names, lambda file: _show_file(bars, file))


def _make_bars(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    is_shown = console.is_terminal
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not is_shown)


def _show_file(bars: Progress, file: FetchFile) -> OnBytes:
    """Add a bar for a file, and return what moves it."""
    bar = bars.add_task(file.name, total=file.size)
    return lambda done, total: bars.update(bar, completed=done, total=total)
