"""Runs what is missing of a plan: feeds a pool, keeps the result of every unit, commits every finished trial.

The driver alone writes. What a unit returned is durable a tenth of a second later, so a kill costs what was in flight
and hardly more. Timing runs on hosts where nothing else does, in turns between the rest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from harness.driver.commit import Rows
from harness.driver.graph import Graph
from harness.driver.inputs import InputHandles
from harness.driver.results import TaskResults
from harness.driver.retries import Retries
from harness.driver.running import Running, RunningUnits
from harness.driver.starting import Starter
from harness.errors import HarnessError, UnstorableError, UsageError
from harness.planning.plan import Plan, PlannedTrial
from harness.pools.pool import Pool
from harness.signals import StopRequest
from harness.specs.limits import POOL_POLL_SECONDS
from harness.storage.store import Store
from harness.task import Checkpoint, Failure, Progress, Result, TaskEvent, Unit

_LOG = logging.getLogger("oneclock.driver.loop")


class Watcher(Protocol):
    """Who is told how the run goes."""

    def begin(self, total: int, cached: int, tasks: int) -> None:
        """Told once: trials in all, trials that are already there, units to do."""

    def more(self, tasks: int) -> None:
        """Told that so many units have been added."""

    def task(self, unit: Unit, progress: Progress | None) -> None:
        """Told of a unit's progress; None when it ended."""

    def trial(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Told of every committed row."""

    def tick(self) -> None:
        """Called at every turn of the loop, twice a second or more often."""


class Engine:
    """One run of one plan into one results folder, on one pool. Hold the folder's lock while it lives.

    `finished` are the trials that have a row already, by default those that the store finds.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        root: Path,
        pool: Pool,
        watcher: Watcher,
        finished: Container[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.store = store
        self.pool = pool
        self.watcher = watcher
        self.finished = store.snapshot().finished() if finished is None else finished
        self.results = TaskResults(plan, store.folder, root)
        self.inputs = InputHandles(self.results, pool, plan.datasets)
        self.failed: dict[str, Failure] = {}
        self.rows = Rows(self.results, store, self.failed, watcher.trial)
        self.graph = Graph(self._end_task, self.failed)
        self.retries = Retries(clock)
        self.running = RunningUnits(pool, clock)
        self.starter = Starter(self.graph, pool, self.results, self.inputs, self.running, clock, watcher.more)
        self.stop = StopRequest()

    def run(self) -> list[Mapping[str, Any]]:
        """Run and commit what is missing; return the rows committed now."""
        todo = [planned for planned in self.plan.trials if planned.id not in self.finished]
        if todo:
            self.results.load_finished()
        # Images are named too: a row needs their output even where the score is already there.
        self._add_unfinished(task_id for planned in todo for task_id in planned.needs)
        for planned in todo:
            self.rows.expect(planned)
        self.watcher.begin(len(self.plan.trials), len(self.plan.trials) - len(todo), len(self.graph))
        self._loop()
        return self.rows.committed

    def finish(self, task_ids: list[str]) -> None:
        """Run the given tasks and what they need, without any trial; raise HarnessError if one fails."""
        self.results.load_finished()
        self._add_unfinished(task_ids)
        self.watcher.begin(0, 0, len(self.graph))
        self._loop()
        for task_id in task_ids:
            if task_id in self.failed:
                raise HarnessError(self.failed[task_id].sentence)

    def _add_unfinished(self, task_ids: Iterable[str]) -> None:
        """Put the unfinished among these tasks and all that they need into the graph, needs first."""
        for number, task in enumerate(self.results.unfinished(task_ids).values()):
            self.graph.add(task, (number,), self.results.missing(task.id))

    # the loop

    def _loop(self) -> None:
        try:
            while (self.rows.waiting or len(self.graph)) and self.stop.signal is None:
                self.rows.commit_ready()
                self.starter.start_ready()
                self.watcher.tick()
                if self.running or len(self.graph):  # workers may be coming too
                    for told in self.pool.poll(self.results.due_seconds(POOL_POLL_SECONDS)):
                        self._handle(told)
                        self.results.tick()
                elif not self.rows.any_ready and self.rows.waiting:
                    raise HarnessError(f"{self.rows.waiting} trials wait for tasks that nobody runs; this is a bug")
                self.results.tick()
            self.rows.commit_ready()
        finally:
            self.results.sync()

    # events

    def _handle(self, told: TaskEvent) -> None:
        running, event = self.running.get(told.unit), told.event
        if running is None:
            return  # the second run of a unit that has ended
        if isinstance(event, Progress):
            self.watcher.task(running.unit, event)
        elif isinstance(event, Checkpoint):
            self.results.keep_checkpoint(running.unit.task, event)
        elif isinstance(event, Result):
            self._finish(running, event, told)
        elif running.runs > 1 and event.lost:
            running.runs -= 1
            _LOG.warning("%s; its other run goes on", event.sentence)
        else:
            self.running.end(running)
            if event.kind == "inputs-lost":
                self.inputs.release_given(running.inputs)
            self._fail(running.unit, event)

    def _finish(self, running: Running, result: Result, told: TaskEvent) -> None:
        """Keep the result of a unit."""
        unit, seconds = running.unit, self.running.end(running, well=True)
        _LOG.debug("%s ended after %.2f s%s", unit.label, seconds, f" on node {told.node[:8]}" if told.node else "")
        output = result.output.model_copy(update={"task_seconds": seconds, "node": told.node})
        try:
            self.results.keep(unit, Result(output, result.tensors))
        except UnstorableError as error:  # such as the loss of a training that diverged
            self._fail(unit, Failure("bad-result", f"the result of {unit.label}: {error}"))
            return
        if self.graph.is_open(unit) and not self.results.is_spent(unit.task.id):
            self.inputs.hold(unit, told.ref)
        self.graph.finish(unit)
        self.watcher.task(unit, None)

    def _end_task(self, task_id: str) -> None:
        """Let go of what a task alone needed, and note for the rows that it has ended, well or not."""
        task = self.results.tasks[task_id]
        self.inputs.release(task.spec.spends())
        if task_id not in self.failed:
            self.results.drop_spent(task)
        self.rows.ended(task_id)

    def _fail(self, unit: Unit, failure: Failure) -> None:
        """Try a unit again whose worker was lost, a bounded number of times; any other failure is the task's own."""
        task = unit.task
        self.watcher.task(unit, None)
        if task.spec.policy.of_a_users_file and failure.kind == UsageError.__name__:
            raise UsageError(failure.sentence)  # the user's own file: the sentence, before anything is sampled
        if not self.graph.is_open(unit):
            return  # its task has failed already
        again = self.retries.again(unit, failure)
        if again is not None:
            _LOG.warning("%s; trying again %s", failure.sentence, again)
            self.watcher.more(1)
            self.graph.restart(unit)
            return
        if (attempts := self.retries.attempts(unit)) > 1:
            failure = replace(failure, sentence=f"{failure.sentence} (attempt {attempts})")
        self.graph.fail(task.id, failure)
        _LOG.error(failure.sentence)
