"""What a person sees of a run: bars on a terminal, nothing but sentences elsewhere; always on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from harness.planning.plan import PlannedTrial
from harness.task import Progress, Task


class Screen:
    """A `Watcher` for people: bars over all trials and tasks with the time left, one for each task that is running."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(file=sys.stderr, quiet=quiet, highlight=False)
        self.live = self.console.is_terminal and not quiet
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
            transient=True,
        )
        self.shown: dict[str, Any] = {}

    def __enter__(self) -> Screen:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bars.stop()

    def begin(self, total: int, cached: int, tasks: int) -> None:
        self.say(f"{total} trials: {cached} already measured, {total - cached} to do in {tasks} tasks")
        self.trials = self.bars.add_task("trials", total=total, completed=cached, note="")
        self.overall = self.bars.add_task("all tasks", total=max(tasks, 1), note="")

    def more(self, tasks: int) -> None:
        overall = next(bar for bar in self.bars.tasks if bar.id == self.overall)
        self.bars.update(self.overall, total=(overall.total or 0) + tasks)

    def task(self, task: Task, progress: Progress | None) -> None:
        if progress is None:
            bar = self.shown.pop(task.id, None)
            if bar is not None:
                self.bars.remove_task(bar)
            self.bars.advance(self.overall)
            return
        if task.id not in self.shown:
            self.shown[task.id] = self.bars.add_task(task.label, total=progress.total, note="")
        self.bars.update(self.shown[task.id], completed=progress.done, total=progress.total, note=progress.note)

    def trial(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        self.bars.advance(self.trials)
        if row["verdict"] != "VALID":
            self.say(f"{planned.trial.short}: {row['verdict']}: {row['reasons']}")
        elif self.live:
            self.say(f"{planned.trial.short}: FID {row['fid']:.3g}, {1e3 * row['latency_seconds']:.3g} ms an image")

    def say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False, soft_wrap=True)
