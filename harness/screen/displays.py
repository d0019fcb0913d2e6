"""Where the progress of a run is shown: a terminal, lines, a notebook, or nowhere. Each is used in a `with` block."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.screen.live_view import LiveView, row_line
from harness.screen.row_words import RowWords
from harness.screen.run_progress import RunProgress
from harness.specs.limits import DRAW_SECONDS, HEARTBEAT_SECONDS, NOTEBOOK_SECONDS, PHASE_SECONDS, WATCH_SECONDS


class Display(Protocol):
    """Shows sentences, rows and progress. `draw` may be called often, from the driver's thread; it does not block."""

    def __enter__(self) -> Self:
        """Begin to show progress."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def show(self, sentence: str, is_warning: bool = False) -> None:
        """Show a sentence, above what is redrawn."""

    def show_row(self, number: str, words: RowWords) -> None:
        """Show a finished row."""

    def draw(self) -> None:
        """Show the progress as it is now, if it is time."""


class Silence:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, sentence: str, is_warning: bool = False) -> None:
        pass

    def show_row(self, number: str, words: RowWords) -> None:
        pass

    def draw(self) -> None:
        pass


class TerminalDisplay:
    """One live screen; sentences and finished rows scroll by above it. A thread redraws it while the driver waits.

    It does not where units run in this process: then it is drawn between them. `draw_seconds`: so often; None: never.
    """

    def __init__(self, progress: RunProgress, console: Console, draw_seconds: float | None = DRAW_SECONDS) -> None:
        self.console = console
        self._progress, self._draw_seconds = progress, draw_seconds
        self._drawn = progress.clock()
        self._closed = threading.Event()
        self._live = Live(
            LiveView(progress),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        if self._draw_seconds is not None:
            threading.Thread(target=self._redraw, name="run-screen", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        with suppress(OSError):  # the terminal may be closed
            self._live.stop()

    def show(self, sentence: str, is_warning: bool = False) -> None:
        self._print(Text(sentence, style="yellow" if is_warning else ""))

    def show_row(self, number: str, words: RowWords) -> None:
        progress = self._progress
        self._print(row_line(number, words, self.console.width, progress.name_width, progress.left_text()))

    def draw(self) -> None:
        """Draw between units that run in this process; else the thread does."""
        now = self._progress.clock()
        if self._progress.shares_process and now - self._drawn >= DRAW_SECONDS:
            self._drawn = now
            with suppress(OSError):
                self._live.refresh()

    def _redraw(self) -> None:
        while not self._closed.wait(self._draw_seconds):
            if not self._progress.is_undisturbed:
                with suppress(OSError):
                    self._live.refresh()

    def _print(self, text: Text) -> None:
        with suppress(OSError):  # a closed terminal does not end a run
            self.console.print(text)


class LineDisplay:
    """Plain lines: sentences, rows, what takes long before the first trial, and a heartbeat after each silence.

    A thread of its own looks every `watch_seconds`, so that a driver that waits is no silence; None: no thread.
    """

    def __init__(self, progress: RunProgress, file: Any = None, watch_seconds: float | None = WATCH_SECONDS) -> None:
        self._progress, self._file = progress, sys.stderr if file is None else file
        self._watch_seconds = watch_seconds
        self._lock = threading.RLock()  # a signal's handler may show a sentence while this thread holds it
        self._last, self._said = progress.clock(), ""
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        if self._watch_seconds is not None:
            threading.Thread(target=self._watch, name="run-heartbeat", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def show(self, sentence: str, is_warning: bool = False) -> None:
        with self._lock, suppress(OSError, ValueError):  # a closed file does not end a run
            self._last = self._progress.clock()
            print(sentence, file=self._file, flush=True)

    def show_row(self, number: str, words: RowWords) -> None:
        cells, left = words.text(max(self._progress.name_width, 1)), self._progress.left_text()
        self.show(f"{number} {cells}" + (f"   {left}" if left else ""))

    def draw(self) -> None:
        """Print a phase that lasts, and a heartbeat after `HEARTBEAT_SECONDS` without a line."""
        progress = self._progress
        with self._lock:
            now = progress.clock()
            if progress.phase and progress.phase != self._said and now - progress.phase_began >= PHASE_SECONDS:
                self._said = progress.phase
                self.show(progress.phase)
            elif now - self._last >= HEARTBEAT_SECONDS:
                self.show(self.heartbeat())

    def heartbeat(self) -> str:
        """Return time of day, ended trials and tasks, the time left, and what has run longest."""
        return f"{time.strftime('%H:%M')} {' · '.join(self._progress.words())}"

    def _watch(self) -> None:
        while not self._closed.wait(self._watch_seconds):
            self.draw()


class NotebookDisplay:
    """The live view as one output of a notebook's cell, drawn anew at most every `NOTEBOOK_SECONDS`.

    `display` is IPython's, and returns a handle that can be updated. Sentences are printed if they are warnings,
    and with `shows_all` any other and rows too.
    """

    def __init__(self, progress: RunProgress, display: Callable[..., Any], shows_all: bool = False) -> None:
        self._progress, self._display, self._shows_all = progress, display, shows_all
        self._handle: Any = None
        self._drawn = 0.0

    def __enter__(self) -> Self:
        self._handle = self._display(_Html(self._html()), display_id=True)
        self._drawn = self._progress.clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._update()

    def show(self, sentence: str, is_warning: bool = False) -> None:
        if is_warning or self._shows_all:
            print(sentence, file=sys.stderr)

    def show_row(self, number: str, words: RowWords) -> None:
        if self._shows_all:
            self.show(f"{number} {words.text(self._progress.name_width)}")
        self._update()

    def draw(self) -> None:
        if self._progress.clock() - self._drawn >= NOTEBOOK_SECONDS:
            self._update()

    def _update(self) -> None:
        self._drawn = self._progress.clock()
        if self._handle is not None:
            self._handle.update(_Html(self._html()))

    def _html(self) -> str:
        """Return the live view as HTML that loads nothing."""
        console = Console(
            file=io.StringIO(), record=True, width=100, height=40, force_terminal=True, legacy_windows=False
        )
        console.print(LiveView(self._progress))
        code = '<pre style="line-height:1.3;font-family:monospace;background:none">{code}</pre>'
        return console.export_html(inline_styles=True, code_format=code)


class _Html:
    """What IPython shows as HTML."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _repr_html_(self) -> str:
        return self._html


def choose_display(progress: RunProgress, quiet: bool | None, console: Console | None = None) -> Display:
    """Return the display for a run: `quiet` shows nothing, None nothing but a bar in a notebook.

    A terminal is live unless it is dumb; anything else gets lines.
    """
    if quiet:
        return Silence()
    console = make_console() if console is None else console
    if console.is_jupyter:
        from IPython.display import display

        return NotebookDisplay(progress, display, shows_all=quiet is False)
    if quiet is None:
        return Silence()
    if console.is_terminal and not console.is_dumb_terminal:
        return TerminalDisplay(progress, console)
    return LineDisplay(progress)


def make_console() -> Console:
    """Return the console of standard error; a file or a pipe is no terminal, whatever FORCE_COLOR says."""
    is_terminal = None if sys.stderr.isatty() else False
    return Console(stderr=True, highlight=False, force_terminal=is_terminal)
