"""The live part of a terminal: progress, what runs, the front so far. Every line fits the width; none wraps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from harness.screen.clock_text import format_span
from harness.screen.row_words import BETTER, WORSE, RowWords, cells_width, crop_middle
from harness.screen.run_progress import RunProgress

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TURNS_PER_SECOND = 4
_MOST_RUNNING = 6
"""Lines for running units; of more of them only the number is shown, by kind."""
_WIDE = 100
"""From so many columns on a row's line has its long form."""
_LEAST_NAME = 16
_LEAST_BAR, _MOST_BAR = 8, 40
_FINDING_STYLES = {BETTER: "green", WORSE: "red"}


@dataclass(frozen=True)
class LiveView:
    """A renderable of a run's progress at the width and height of the console that draws it."""

    progress: RunProgress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, most = options.max_width, max(console.size.height - 1, 1)
        for line in view_lines(self.progress, width)[:most]:
            line.no_wrap, line.overflow = True, "ellipsis"
            line.truncate(width)
            yield line


def view_lines(progress: RunProgress, width: int) -> list[Text]:
    """Return the lines of the live part for a width."""
    lines = [Text("─" * width, style="bright_black"), _head(progress, width)]
    if progress.phase:
        lines.append(Text(f"  {progress.phase_text()}"))
    if not progress.phase:
        lines += _running(progress, width)
    if progress.trials.total:
        lines += _front(progress, width)
    lines.append(_foot(progress, width))
    return lines


def row_line(number: str, words: RowWords, width: int, longest: int, left: str) -> Text:
    """Return the line of a finished row: its number, its words in columns, and the time left where that fits.

    `longest` is the length of the longest name.
    """
    narrow = width < _WIDE
    name_width = max(min(longest, width - len(number) - 1 - cells_width(narrow)), _LEAST_NAME)
    line = Text(f"{number} {words.text(name_width, width - len(number) - 1, narrow)}", no_wrap=True)

    # colours, and the time left in a column of its own
    if not words.is_valid:
        line.stylize("red")
    elif words.finding in _FINDING_STYLES:
        line.highlight_regex(rf"{words.finding.removeprefix('FID ')}$", _FINDING_STYLES[words.finding])
    start = len(number) + 1 + name_width + cells_width(narrow) + 3
    if left and words.is_valid and start + len(left) <= width:
        line.append(f"{'':{start - len(line)}}{left}", style="bright_black")
    return line


def _head(progress: RunProgress, width: int) -> Text:
    """Return the line of counts: what turns, title, elapsed time, a bar of the tasks, time left."""
    elapsed = progress.clock() - progress.began
    turn = _SPINNER[int(elapsed * _TURNS_PER_SECOND) % len(_SPINNER)]
    start = f"{turn} {progress.title} {format_span(elapsed)}"
    if not progress.trials.total:
        return Text(start, style=Style(bold=True))

    # the bar takes what the words leave
    ends = [f"tasks {progress.tasks}"] if progress.tasks.total else []
    ends += [progress.left_text()] if progress.left_text() else []
    before, after = f"{start}  trials {progress.trials} ", "  ".join(["", *ends])
    bar = min(width - len(before) - len(after), _MOST_BAR)
    line = Text(before, style=Style(bold=True))
    if bar >= _LEAST_BAR:
        share = progress.tasks.done / progress.tasks.total if progress.tasks.total else 1.0
        full = min(int(bar * share), bar)
        line.append("━" * full, style="cyan").append("─" * (bar - full), style="bright_black")
    return line.append(after)


def _running(progress: RunProgress, width: int) -> list[Text]:
    """Return the line of devices, and a line for each running unit; of very many, their number by kind."""
    units = progress.oldest_first()
    lines = [Text(f"  devices busy {progress.busy()} of {progress.devices}")] if progress.devices else []
    if len(units) > _MOST_RUNNING:
        kinds = Counter(one.doing.partition(" ")[0] for one in units)
        return [*lines, Text("    " + " · ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())))]

    now = progress.clock()
    for one in units:
        share = "" if one.share is None else f"{100 * one.share:.0f} %"
        end = f"{share:>6} {format_span(now - one.began):>7}"
        lines.append(Text(f"    {_fitted(one.doing, width - 4 - len(end))}{end}"))
    return lines


def _front(progress: RunProgress, width: int) -> list[Text]:
    """Return the front so far under its title, nothing before two rows compete."""
    front = progress.front()
    if len(front) < 2:
        return []
    name_width = max(min(max(len(one.words.name) for one in front), width - 40), 8)
    lines = [Text("  front so far (lowest FID for its time, intervals aside)", style="bright_black")]
    for one in front:
        words = one.words
        cells = f"{_fitted(words.name, name_width)}  {words.fid:17}{words.latency:>8}  {words.speed}"
        lines.append(Text(f"    {cells}".rstrip()))
    return lines


def _foot(progress: RunProgress, width: int) -> Text:
    """Return the line that says how to leave, and where the page is if that fits."""
    safe = "  Ctrl-C is safe"
    whole = f"{safe} · {progress.report}" if progress.report else safe
    return Text(whole if len(whole) <= width else safe, style="bright_black")


def _fitted(text: str, width: int) -> str:
    return f"{crop_middle(text, width):{width}}"
