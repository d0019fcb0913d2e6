"""What a run has done so far, for every kind of display. The driver's thread writes it, a display's thread reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.screen.clock_text import format_span
from harness.screen.row_words import RowWords
from harness.screen.time_left import TimeLeft
from harness.task import Progress, Unit

FRONT_ROWS = 5
_LEAST_LEFT = 0.5
"""Seconds left below which none are claimed."""
_DOING = {
    "sample": "sampling",
    "score": "scoring",
    "compare": "comparing",
    "time": "timing",
    "prepare": "preparing",
    "train": "training",
    "check": "checking",
}
"""What a unit does, by the first word of its label; any other is computed."""


@dataclass
class Count:
    """Number ended of a total."""

    name: str
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        return f"{self.done}/{self.total}"


@dataclass
class RunningUnit:
    """A unit that runs: what it does, since when, how far it is, and on how many devices."""

    doing: str
    began: float
    devices: int
    share: float | None = None
    """Of its steps; None before its first progress."""

    def text(self) -> str:
        """Return what it does, with its percentage."""
        return self.doing if self.share is None else f"{self.doing} {100 * self.share:.0f} %"


@dataclass(frozen=True)
class FrontRow:
    """A row that competes for the front: where no other has both the lower FID and the shorter time."""

    words: RowWords
    group: str
    """Rows of one group compete: those of one data set."""
    fid: float
    seconds: float


class RunProgress:
    """Phase, counts, running units, rows and time left. `clock` is a steady one, in seconds."""

    def __init__(self, title: str, clock: Callable[[], float], shares_process: bool = False) -> None:
        """`shares_process`: units run in this process, so that whatever else it does disturbs what they time."""
        self.title, self.clock, self.shares_process = title, clock, shares_process
        self.began = clock()
        self.phase, self.phase_began = "", self.began
        self.trials, self.tasks = Count("trials"), Count("tasks")
        self.running: dict[str, RunningUnit] = {}
        self.devices = 0
        self.name_width = 0
        """Characters of the longest name of a trial."""

        # where it can be read, and when it ends
        self.report = ""
        """Path of the page, "" where none is written."""
        self.report_is_live = True
        """False where a whole report of earlier rows stays there until the run has ended."""
        self.estimate: float | None = None
        """Seconds from the plan's estimate, from the start of this object on."""
        self.left: float | None = None
        self._left_noted = self.began
        self._time_left = TimeLeft(clock)
        self._rows: list[FrontRow] = []

    # what happens

    def begin_phase(self, phase: str) -> None:
        """Note what is done before the first trial or after the last, "" while trials run."""
        self.phase, self.phase_began = phase, self.clock()
        self.left = None

    def start_unit(self, unit: Unit) -> None:
        """Note a unit that was started."""
        self._time_left.note_start(unit.key, unit.task.kind, unit.task.exclusive)
        self.running[unit.key] = RunningUnit(describe_unit(unit), self.clock(), unit.task.ranks)

    def note_progress(self, unit: Unit, progress: Progress) -> None:
        """Note how far a unit is; one whose start was not noted counts from now on."""
        if unit.key not in self.running:
            self.start_unit(unit)
        self.running[unit.key].share = min(progress.done / max(progress.total, 1), 1.0)

    def end_unit(self, unit: Unit) -> None:
        """Note a unit that has ended or failed."""
        self._time_left.note_end(unit.key, unit.task.kind)
        self.running.pop(unit.key, None)
        self.tasks.done += 1

    def add_row(self, words: RowWords, row: Mapping[str, Any]) -> None:
        """Count a committed row; a VALID one competes for the front."""
        self.trials.done += 1
        fid, seconds = row.get("fid"), row.get("latency_seconds")
        if words.is_valid and fid is not None and seconds is not None:
            self._rows.append(FrontRow(words, str(row.get("dataset", "")), fid, seconds))

    def update_time_left(self, left: Mapping[str, int]) -> None:
        """Estimate the time left from the open units by kind: as this run goes, before that as the plan says.

        Where the plan's estimate is used up, what is open still takes its share of it.
        """
        now = self.clock()
        seconds = self._time_left.seconds(left, self.devices)
        if seconds is None and self.estimate is not None:
            open_share = 1 - self.tasks.done / self.tasks.total if self.tasks.total else 0.0
            seconds = max(self.estimate - (now - self.began), open_share * self.estimate) or None
        self.left, self._left_noted = seconds, now

    # what displays show

    def seconds_left(self) -> float | None:
        """Return the seconds left by now; None while they are unknown."""
        return None if self.left is None else max(self.left - (self.clock() - self._left_noted), 0.0)

    def left_text(self) -> str:
        """Return "left m:ss", or "" while it is unknown, as where more time passed than was left."""
        seconds = self.seconds_left()
        return "" if seconds is None or seconds < _LEAST_LEFT else f"left {format_span(seconds)}"

    @property
    def is_undisturbed(self) -> bool:
        """Tell whether nothing may be drawn now, since a unit runs in this process."""
        return self.shares_process and bool(self.running)

    def busy(self) -> int:
        """Return how many devices are busy."""
        return sum(one.devices for one in self.oldest_first())

    def oldest_first(self) -> list[RunningUnit]:
        """Return the units that run, the one that has run longest first."""
        units = tuple(self.running.values())  # at once, since another thread may change them
        return sorted(units, key=lambda one: one.began)

    def front(self) -> list[FrontRow]:
        """Return at most `FRONT_ROWS` rows of the front of FID against latency, those of lowest FID, fastest first.

        Of several data sets it is that of the latest row.
        """
        rows = list(self._rows)
        rows = [one for one in rows if one.group == rows[-1].group]
        best: list[FrontRow] = []
        for one in sorted(rows, key=lambda row: (row.seconds, row.fid)):
            if not best or one.fid < best[-1].fid:
                best.append(one)
        return best[-FRONT_ROWS:]

    def phase_text(self) -> str:
        """Return the phase with its seconds, or "" while trials run."""
        return f"{self.phase} ({self.clock() - self.phase_began:.0f} s)" if self.phase else ""

    def words(self) -> list[str]:
        """Return the parts of a heartbeat: trials, tasks, time left, and what has run longest or is done now."""
        words = [f"{count.name} {count}" for count in (self.trials, self.tasks) if count.total]
        doing = [one.text() for one in self.oldest_first()[:1]]
        return [word for word in (*words, self.left_text(), self.phase_text()) if word] + doing


def describe_unit(unit: Unit) -> str:
    """Return what a unit does, as "sampling unet-8:ddim-5 [0, 50)"."""
    verb, _, rest = unit.label.partition(" ")
    return f"{_DOING[verb]} {rest}" if verb in _DOING else f"computing {unit.label}"
