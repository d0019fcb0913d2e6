"""Runs what is missing of a plan: feeds a pool, keeps every finished task, commits every finished trial.

The driver alone writes. What a task returned is kept at once, so a kill costs the tasks in flight and nothing else.
Timing runs on devices where nothing else does, in turns between the rest.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from harness.driver.commit import Rows
from harness.driver.graph import Graph
from harness.driver.inputs import InputHandles
from harness.driver.lane import Lane, Load
from harness.driver.results import Ledger
from harness.driver.retries import Retries
from harness.driver.search import Spread
from harness.errors import HarnessError, UsageError
from harness.identity import canonical_json
from harness.planning.plan import Plan, PlannedTrial
from harness.pools.local import failure_of
from harness.pools.pool import Pool
from harness.signals import Stop
from harness.storage.store import Store
from harness.task import Checkpoint, Failure, Progress, Result, Task, TaskEvent

_WAIT_SECONDS = 0.5


class Watcher(Protocol):
    """Who is told how the run goes."""

    def begin(self, total: int, cached: int, tasks: int) -> None:
        """Told once: trials in all, trials that are already there, tasks to do."""

    def more(self, tasks: int) -> None:
        """Told that so many tasks have been added."""

    def task(self, task: Task, progress: Progress | None) -> None:
        """Told of a task's progress; None when it ended."""

    def trial(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Told of every committed row."""

    def say(self, sentence: str) -> None:
        """Told what a person should know."""

    def tick(self) -> None:
        """Called at every turn of the loop, twice a second or more often."""


class Engine:
    """One run of one plan into one results folder, on one pool. Hold the folder's lock while it lives.

    `finished` are the trials that have a row already, by default those that the store finds.
    """

    def __init__(
        self, plan: Plan, store: Store, root: Path, pool: Pool, watcher: Watcher, finished: Container[str] | None = None
    ) -> None:
        self.plan = plan
        self.store = store
        self.pool = pool
        self.watcher = watcher
        self.ledger = Ledger(plan, store.folder, root, watcher.say)
        self.inputs = InputHandles(self.ledger, pool, plan.datasets)
        self.spread = Spread(self.ledger)
        self.rows = Rows(self.ledger, store, watcher.trial)
        self.graph = Graph(self.rows.ended)
        self.ledger.failed = self.graph.failed
        self.finished = store.snapshot().finished() if finished is None else finished
        self.retries = Retries()
        self.lane = Lane()
        self.running: dict[str, float] = {}
        self.stop = Stop()

    def run(self) -> list[Mapping[str, Any]]:
        """Run and commit what is missing; return the rows committed now."""
        todo = [planned for planned in self.plan.trials if planned.id not in self.finished]
        if todo:
            self.ledger.recall()
        # Images are named too: a row needs their output even where the score is already there.
        self._fill(task_id for planned in todo for task_id in planned.needs)
        for planned in todo:
            self.rows.expect(planned)
        self.watcher.begin(len(self.plan.trials), len(self.plan.trials) - len(todo), len(self.graph))
        self._loop()
        return self.rows.committed

    def finish(self, task_ids: list[str]) -> None:
        """Run the given tasks and what they need, without any trial; raise HarnessError if one fails."""
        self.ledger.recall()
        self._fill(task_ids)
        self.watcher.begin(0, 0, len(self.graph))
        self._loop()
        for task_id in task_ids:
            if task_id in self.graph.failed:
                raise HarnessError(self.graph.failed[task_id].sentence)

    def _fill(self, task_ids: Iterable[str]) -> None:
        """Put the unfinished among these tasks and all that they need into the graph, needs first."""
        for number, task in enumerate(self.ledger.wanted(task_ids).values()):
            self.graph.add(task, (number,))

    def _loop(self) -> None:
        while (self.rows.waiting or len(self.graph)) and self.stop.signal is None:
            self.rows.commit_ready()
            self._feed()
            self.watcher.tick()
            if self.running or len(self.graph):  # workers may be coming too
                told = self.pool.wait(_WAIT_SECONDS)
                if told is not None:
                    self._take(told)
            elif not self.rows.any_ready and self.rows.waiting:
                raise HarnessError(f"{self.rows.waiting} trials wait for tasks that nobody runs; this is a bug")
        self.rows.commit_ready()

    def _feed(self) -> None:
        """Start every task that may start now: in a turn of the lane exclusive ones, else the others."""
        for large in self.graph.larger(self.pool.size()):
            sentence = f"{large.label} needs {large.ranks} devices at once; the cluster offers {self.pool.size()}"
            self._fail(large, Failure("too-few-devices", sentence))
        self.lane.look(self._load(), self.pool.idle())
        while (task := self.graph.take(self.lane.is_open, self.pool.idle(self.lane.is_open))) is not None:
            if self._asks_for_jobs(task):
                continue
            started = self.spread.concluding(task)
            self.running[task.id] = time.monotonic()
            self.pool.start(started, self.inputs.of(started))

    def _asks_for_jobs(self, task: Task) -> bool:
        """Put the jobs that a search asks for now before what concludes it, which waits for them; or fail it."""
        if not self.spread.searches(task):
            return False
        try:
            jobs = self.spread.unfinished(task)
        except Exception as error:  # a method's own code, here in the driver
            self._fail(task, failure_of(error))
            return True
        fresh = [job for job in jobs if job.id not in self.graph and job.id not in self.graph.failed]
        for number, job in enumerate(fresh):
            self.graph.add(job, self.graph.order_before(task.id, number))
        if fresh:
            self.watcher.more(len(fresh))
        if jobs:
            self.graph.hold(task.id, [job.id for job in jobs])
        return bool(jobs)

    def _load(self) -> Load:
        exclusive = sum(1 for task_id in self.running if self.graph.tasks[task_id].exclusive)
        return Load(
            exclusive_ready=self.graph.ready(exclusive=True),
            exclusive_running=exclusive,
            others_left=self.graph.left(exclusive=False) - (len(self.running) - exclusive),
            others_running=len(self.running) - exclusive,
        )

    def _take(self, told: TaskEvent) -> None:
        task, event = self.ledger.tasks[told.task.id], told.event
        if isinstance(event, Progress):
            self.watcher.task(task, event)
        elif isinstance(event, Checkpoint):
            self.ledger.keep_checkpoint(task, event)
        elif isinstance(event, Result):
            seconds = time.monotonic() - self.running.pop(task.id)
            output = event.output.model_copy(update={"task_seconds": seconds, "node": told.node})
            try:
                canonical_json(output.model_dump(mode="json"))
            except UsageError as error:  # such as the loss of a training that diverged
                self._fail(task, Failure("bad-result", f"the result of {task.label}: {error}"))
                return
            self.ledger.keep(task, Result(output, event.tensors))
            self.inputs.hold(task, told.handle)
            self.graph.finish(task.id)
            self.watcher.task(task, None)
        else:
            self.running.pop(task.id, None)
            self._fail(task, event)

    def _fail(self, task: Task, failure: Failure) -> None:
        """Try a task again whose worker was lost, a bounded number of times; any other failure is the task's own."""
        self.watcher.task(task, None)
        if task.spec.policy.of_a_users_file and failure.kind == UsageError.__name__:
            raise UsageError(failure.sentence)  # the user's own file: the sentence, before anything is sampled
        if failure.kind == "inputs-lost":
            self.inputs.forget(self.spread.concluding(task))
        again = self.retries.again(task.id, failure)
        if again is not None:
            self.watcher.say(f"{failure.sentence}; trying again {again}")
            self.graph.again(task.id)
            return
        if (attempts := self.retries.attempts(task.id)) > 1:
            failure = replace(failure, sentence=f"{failure.sentence} (attempt {attempts})")
        self.graph.fail(task.id, failure)
        self.watcher.say(failure.sentence)
