"""Runs what is missing of a plan: feeds a pool, keeps the result of every unit, commits every finished trial.

The driver alone writes. What a unit returned is durable a tenth of a second later, so a kill costs what was in flight
and hardly more. Timing runs on hosts where nothing else does, in turns between the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from harness.driver.commit import Rows
from harness.driver.durations import Durations
from harness.driver.graph import Graph
from harness.driver.inputs import InputHandles, LostInputsError
from harness.driver.lane import Lane, Load
from harness.driver.results import TaskResults
from harness.driver.retries import Retries
from harness.driver.search import SearchJobs
from harness.errors import HarnessError, StorageFullError, StoreDamagedError, UnstorableError, UsageError
from harness.planning.plan import Plan, PlannedTrial
from harness.pools.local import failure_of
from harness.pools.pool import Pool
from harness.signals import Stop
from harness.storage.store import Store
from harness.task import Checkpoint, Failure, Progress, Result, TaskEvent, Unit

_WAIT_SECONDS = 0.5
COME_BACK_SECONDS = 120.0
"""So long a task waits for devices that were there and are not any more, such as a spot instance that comes back."""


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

    def say(self, sentence: str) -> None:
        """Told what a person should know."""

    def tick(self) -> None:
        """Called at every turn of the loop, twice a second or more often."""


@dataclass
class _Running:
    """A unit that runs, once or as a straggler twice."""

    unit: Unit
    began: float
    inputs: Mapping[str, Any]
    runs: int = 1


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
        self.results = TaskResults(plan, store.folder, root, watcher.say)
        self.inputs = InputHandles(self.results, pool, plan.datasets)
        self.searches = SearchJobs(self.results)
        self.failed: dict[str, Failure] = {}
        self.rows = Rows(self.results, store, self.failed, watcher.trial)
        self.graph = Graph(self._end_task, self.failed)
        self.retries = Retries(clock)
        self._dropped = self._most_devices = 0
        self._too_large: dict[str, float] = {}
        self.lane = Lane(clock)
        self.durations = Durations()
        self.running: dict[str, _Running] = {}
        self.stop = Stop()
        self._clock = clock
        self._exclusive_running = 0

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
                self._start_ready()
                self.watcher.tick()
                if self.running or len(self.graph):  # workers may be coming too
                    for told in self.pool.poll(self.results.due_seconds(_WAIT_SECONDS)):
                        self._handle(told)
                        self.results.tick()
                elif not self.rows.any_ready and self.rows.waiting:
                    raise HarnessError(f"{self.rows.waiting} trials wait for tasks that nobody runs; this is a bug")
                self.results.tick()
            self.rows.commit_ready()
        finally:
            self.results.sync()

    # starting

    def _start_ready(self) -> None:
        """Start every unit that may start now: exclusive ones on the hosts kept for them, the others elsewhere."""
        self._fail_too_large()
        self.pool.reserve(self.lane.hosts_to_reserve(self._load()))
        for exclusive in (True, False):
            while (unit := self.graph.take(exclusive, self.pool.idle(exclusive))) is not None:
                if not self._asks_for_jobs(unit):
                    self._start(unit)
        self._start_stragglers_again()
        if (dropped := self.graph.dropped_units) > self._dropped:
            self.watcher.more(self._dropped - dropped)
            self._dropped = dropped

    def _fail_too_large(self) -> None:
        """Fail the tasks that need more devices than there are; if there once were enough, only after a while."""
        size, now = self.pool.size(), self._clock()
        self._most_devices = max(self._most_devices, size)
        large = {task.id: task for task in self.graph.larger_than(size)}
        self._too_large = {task_id: self._too_large.get(task_id, now) for task_id in large}
        for task_id, since in self._too_large.items():
            task = large[task_id]
            if task.ranks <= self._most_devices and now - since < COME_BACK_SECONDS:
                continue
            sentence = f"{task.label} needs {task.ranks} devices at once; the cluster offers {size}"
            self.graph.fail(task_id, Failure("too-few-devices", sentence))
            self.watcher.say(sentence)

    def _start(self, unit: Unit) -> None:
        """Start a unit; where results that it reads are lost, have them made again first."""
        started = self.searches.concluding(unit)
        try:
            inputs = self.inputs.for_unit(started)
        except LostInputsError as lost:
            self._make_again(unit, lost)
            return
        self.running[unit.key] = _Running(unit, self._clock(), inputs)
        self._exclusive_running += unit.task.exclusive
        self.pool.start(started, inputs)

    def _make_again(self, unit: Unit, lost: LostInputsError) -> None:
        self.watcher.say(str(lost))
        by_task: dict[str, list[Unit]] = {}
        for one in lost.units:
            if one.task.id in self.failed:  # it was tried before
                self.graph.fail(unit.task.id, self.failed[one.task.id])
                return
        for one in lost.units:
            self.results.forget(one)
            by_task.setdefault(one.task.id, []).append(one)
        self.watcher.more(len(lost.units))
        for number, units in enumerate(by_task.values()):
            if units[0].task.id not in self.graph:
                order = self.graph.order_before(unit.task.id, number)
                self.graph.add(units[0].task, order, [one.number for one in units])
        self.graph.wait_for(unit, by_task)

    def _asks_for_jobs(self, unit: Unit) -> bool:
        """Put the jobs that a search asks for now before what concludes it, which waits for them; or fail it."""
        task = unit.task
        if not self.searches.searches(task):
            return False
        try:
            jobs = self.searches.unfinished(task)
        except (StorageFullError, StoreDamagedError):
            raise
        except Exception as error:  # a method's own code, here in the driver
            self._fail(unit, failure_of(error))
            return True
        fresh = [job for job in jobs if job.id not in self.graph and job.id not in self.failed]
        for number, job in enumerate(fresh):
            self.graph.add(job, self.graph.order_before(task.id, number))
        if fresh:
            self.watcher.more(len(fresh))
        if jobs:
            self.graph.wait_for(unit, [job.id for job in jobs])
        return bool(jobs)

    def _start_stragglers_again(self) -> None:
        """Where workers are idle and nothing is ready, run stragglers a second time."""
        if self.graph.ready(exclusive=False) or not self.pool.idle():
            return
        now = self._clock()
        for one in self.running.values():
            task = one.unit.task
            if one.runs > 1 or task.exclusive or task.ranks > self.pool.idle() or not self.graph.is_open(one.unit):
                continue
            if self.durations.straggles(one.unit, now - one.began):
                self._start_second_run(one)

    def _start_second_run(self, running: _Running) -> None:
        try:
            inputs = self.inputs.for_unit(running.unit)
        except LostInputsError:
            return  # the first run has them
        self.watcher.say(f"{running.unit.label} takes far longer than others of its task; it is run a second time")
        running.runs += 1
        self.pool.start(running.unit, inputs)

    def _load(self) -> Load:
        running, exclusive = len(self.running), self._exclusive_running
        size, hosts = self.pool.size(), self.pool.hosts()
        usual = self.durations.longest(one.unit for one in self.running.values()) if self.lane.is_open else 0.0
        return Load(
            exclusive_ready=self.graph.ready(exclusive=True),
            exclusive_running=exclusive,
            others_left=self.graph.unstarted(exclusive=False),
            others_running=running - exclusive,
            hosts=hosts,
            idle_devices=self.pool.idle(exclusive=True),
            devices_at_once=self.graph.largest(exclusive=True),
            devices_per_host=max(1, size // hosts),
            unit_seconds=usual,
        )

    # events

    def _handle(self, told: TaskEvent) -> None:
        running, event = self.running.get(told.unit.key), told.event
        if running is None:
            return  # the second run of a unit that has ended
        unit = running.unit
        if isinstance(event, Progress):
            self.watcher.task(unit, event)
        elif isinstance(event, Checkpoint):
            self.results.keep_checkpoint(unit.task, event)
        elif isinstance(event, Result):
            self._finish(running, event, told)
        elif running.runs > 1 and event.lost:
            running.runs -= 1  # the other run goes on
            self.watcher.say(f"{event.sentence}; its other run goes on")
        else:
            self._remove(running)
            if event.kind == "inputs-lost":
                self.inputs.release_given(running.inputs)
            self._fail(unit, event)

    def _finish(self, running: _Running, result: Result, told: TaskEvent) -> None:
        """Keep the result of a unit."""
        unit, seconds = running.unit, self._clock() - running.began
        self._remove(running)
        output = result.output.model_copy(update={"task_seconds": seconds, "node": told.node})
        try:
            self.results.keep(unit, Result(output, result.tensors))
        except UnstorableError as error:  # such as the loss of a training that diverged
            self._fail(unit, Failure("bad-result", f"the result of {unit.label}: {error}"))
            return
        self.durations.add(unit, seconds)
        if self.graph.is_open(unit) and not self.results.is_spent(unit.task.id):
            self.inputs.hold(unit, told.handle)
        self.graph.finish(unit)
        self.watcher.task(unit, None)

    def _end_task(self, task_id: str) -> None:
        """Let go of what a task alone needed, and note for the rows that it has ended, well or not."""
        task = self.results.tasks[task_id]
        self.inputs.release(task.spec.spends())
        if task_id not in self.failed:
            self.results.drop_spent(task)
        self.rows.ended(task_id)

    def _remove(self, running: _Running) -> None:
        """Take a unit from what runs, its second run too."""
        del self.running[running.unit.key]
        self._exclusive_running -= running.unit.task.exclusive
        if running.runs > 1:
            self.pool.drop(running.unit)

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
            self.watcher.say(f"{failure.sentence}; trying again {again}")
            self.watcher.more(1)
            self.graph.restart(unit)
            return
        if (attempts := self.retries.attempts(unit)) > 1:
            failure = replace(failure, sentence=f"{failure.sentence} (attempt {attempts})")
        self.graph.fail(task.id, failure)
        self.watcher.say(failure.sentence)
