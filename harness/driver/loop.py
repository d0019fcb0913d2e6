"""The loop of a run: starts units on a pool, keeps their results, commits each finished trial.

Only the driver writes. A result is durable a tenth of a second after it arrived, so a kill costs
hardly more than the units that were running. Timing runs on hosts where nothing else does, in
turns between the rest.
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
from harness.driver.inputs import InputRefs
from harness.driver.results import TaskResults
from harness.driver.retries import Retries, describe_failure
from harness.driver.running import Running, RunningUnits
from harness.driver.starting import Starter
from harness.driver.unit_rates import UnitRates
from harness.errors import HarnessError, UnstorableError, UsageError
from harness.planning.plan import Plan, PlannedTrial
from harness.pools.pool import Pool
from harness.signals import StopRequest
from harness.specs.limits import POOL_POLL_SECONDS
from harness.storage.store import Store
from harness.task import Checkpoint, Failure, Progress, Result, TaskEvent, Unit

_LOG = logging.getLogger("oneclock.driver.loop")


class RunListener(Protocol):
    """Receives the progress of a run. Messages for people go through `logging` instead.

    The driver calls it in its own thread, between events. A call that blocks delays the start of
    units, but no timing: that runs in workers.
    """

    def on_start(self, total: int, cached: int, units: int) -> None:
        """Called once: number of trials, of trials that have rows already, and of units to run."""

    def on_units_added(self, units: int) -> None:
        """Called when so many units were added; negative if they were dropped."""

    def on_unit_start(self, unit: Unit) -> None:
        """Called when a unit starts; not for a second run of it."""

    def on_progress(self, unit: Unit, progress: Progress) -> None:
        """Called for each progress event of a unit."""

    def on_unit_end(self, unit: Unit) -> None:
        """Called when a run of a unit has ended or failed."""

    def on_row(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Called for each committed row."""

    def on_tick(self) -> None:
        """Called in each turn of the loop, at least every `POOL_POLL_SECONDS`."""


class Engine:
    """One run of one plan into one results folder, on one pool.

    Hold the folder's lock while it exists. `finished` names the trials that have a row already, by
    default those in the store.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        root: Path,
        pool: Pool,
        listener: RunListener,
        finished: Container[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.store = store
        self.pool = pool
        self.listener = listener
        self.finished = store.snapshot().finished() if finished is None else finished

        # what is kept: results of tasks, inputs made of them, rows
        self.results = TaskResults(plan, store.folder, root)
        self.inputs = InputRefs(self.results, pool, plan.datasets)
        self.failed: dict[str, Failure] = {}
        self.rows = Rows(self.results, store, self.failed, listener.on_row)

        # what is to be done, and what runs
        self.graph = Graph(self._end_task, self.failed)
        self.retries = Retries(clock)
        self.running = RunningUnits(pool, clock, listener.on_unit_start)
        added = listener.on_units_added
        self.starter = Starter(self.graph, pool, self.results, self.inputs, self.running, clock, added)
        self.rates = UnitRates(self.results.tasks)
        self.stop = StopRequest()

    def run(self) -> list[Mapping[str, Any]]:
        """Run and commit what is missing; return the rows that were committed now."""
        todo = [planned for planned in self.plan.trials if planned.id not in self.finished]
        if todo:
            self.results.load_finished()
        # images too: a row reads their output even where the score is done
        self._add_unfinished(task_id for planned in todo for task_id in planned.needs)
        for planned in todo:
            self.rows.expect_row(planned)
        self.listener.on_start(len(self.plan.trials), len(self.plan.trials) - len(todo), len(self.graph))
        self._loop()
        return self.rows.committed

    def finish_tasks(self, task_ids: list[str]) -> None:
        """Run the given tasks and what they need, without any trial.

        Raises HarnessError if one fails.
        """
        self.results.load_finished()
        self._add_unfinished(task_ids)
        self.listener.on_start(0, 0, len(self.graph))
        self._loop()
        for task_id in task_ids:
            if task_id in self.failed:
                raise HarnessError(self.failed[task_id].sentence)

    def _add_unfinished(self, task_ids: Iterable[str]) -> None:
        """Add the unfinished ones of these tasks, and all tasks they need, to the graph.

        Needs come before the tasks that read them.
        """
        for number, task in enumerate(self.results.unfinished(task_ids).values()):
            self.graph.add_task(task, (number,), self.results.missing_units(task.id))

    # the loop

    def _loop(self) -> None:
        try:
            while (self.rows.waiting or len(self.graph)) and self.stop.signal is None:
                self._commit_and_start()
                self.listener.on_tick()

                # wait for events, but not past the next write of results
                if self.running or len(self.graph):  # workers may still start
                    for happened in self.pool.poll(self.results.due_seconds(POOL_POLL_SECONDS)):
                        self._handle_event(happened)
                        self.results.sync_if_due()
                elif not self.rows.any_ready and self.rows.waiting:
                    raise HarnessError(f"{self.rows.waiting} trials wait for tasks that do not run; this is a bug")
                self.results.sync_if_due()
            self.rows.commit_ready_rows()
        finally:
            self.results.sync()

    def _commit_and_start(self) -> None:
        """Commit rows and start units; on several hosts units first, so that no device is idle while rows are written.

        On one host rows come first: what the driver writes while a timing runs would disturb it.
        """
        if self.pool.hosts() == 1:
            self.rows.commit_ready_rows()
        self.starter.start_ready_units()
        self.rows.commit_ready_rows()

    # events

    def _handle_event(self, happened: TaskEvent) -> None:
        running, event = self.running.get(happened.unit), happened.event
        if running is None:
            return  # the second run of a unit that has ended

        # events of a unit that runs
        if isinstance(event, Progress):
            self.listener.on_progress(running.unit, event)
        elif isinstance(event, Checkpoint):
            self.results.keep_checkpoint(running.unit.task, event)
        elif isinstance(event, Result):
            self._finish_unit(running, event, happened)

        # failures
        elif running.runs > 1 and event.lost:
            running.runs -= 1
            _LOG.warning("%s; its other run goes on", event.sentence)
        else:
            self.running.end_unit(running)
            if event.kind == "inputs-lost":
                self.inputs.evict_lost(running.inputs)
            self._fail_unit(running.unit, event)

    def _finish_unit(self, running: Running, result: Result, happened: TaskEvent) -> None:
        """Keep the result of a unit, with its seconds and its node."""
        unit, seconds = running.unit, self.running.end_unit(running, well=True)
        node = f" on node {happened.node[:8]}" if happened.node else ""
        _LOG.debug("%s ended after %.2f s%s", unit.label, seconds, node)
        output = result.output.model_copy(update={"task_seconds": seconds, "node": happened.node})
        try:
            self.results.keep_result(unit, Result(output, result.tensors))
        except UnstorableError as error:  # such as the loss of a training that diverged
            self._fail_unit(unit, Failure("bad-result", f"the result of {unit.label}: {error}"))
            return
        if self.graph.is_open(unit) and not self.results.is_spent(unit.task.id):
            self.inputs.cache(unit, happened.ref)
        self.rates.add_unit(unit, result.output, seconds, self.starter.count_search_jobs(unit))
        self.graph.finish_unit(unit)
        self.listener.on_unit_end(unit)

    def _end_task(self, task_id: str) -> None:
        """Evict what only this task needed, and note for the rows that it has ended or failed."""
        task = self.results.tasks[task_id]
        self.inputs.evict(tuple(spent for spent in task.spec.spends() if not self._is_read_later(spent)))
        if task_id not in self.failed:
            self.results.drop_spent(task)
        self.rows.note_task_end(task_id)

    def _is_read_later(self, task_id: str) -> bool:
        """Tell whether a task of this run is still to read the results of another."""
        return any(map(self.graph.is_task_open, self.results.readers(task_id)))

    def _fail_unit(self, unit: Unit, failure: Failure) -> None:
        """Start a unit again whose worker was lost, within bounds; else fail its task.

        Raises UsageError for a user's own file that cannot be used, before anything is sampled.
        """
        task = unit.task
        self.listener.on_unit_end(unit)
        if task.spec.policy.of_a_users_file and failure.kind == UsageError.__name__:
            raise UsageError(failure.sentence)
        if not self.graph.is_open(unit):
            return  # its task has failed already

        # a failure that may not be the unit's own
        again = self.retries.count_failure(unit, failure)
        if again is not None:
            _LOG.warning("%s; trying again %s", failure.sentence, again)
            self.listener.on_units_added(1)
            self.graph.restart_unit(unit)
            return

        # the unit's own failure
        if (attempts := self.retries.attempts(unit)) > 1:
            failure = replace(failure, sentence=f"{failure.sentence} (attempt {attempts})")
        self.graph.fail_task(task.id, failure)
        _LOG.error(describe_failure(unit, failure, self.plan.suite.name))
