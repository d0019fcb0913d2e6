"""Runs what is missing of a plan: feeds a pool, keeps every finished task, commits every finished trial.

The driver alone writes. What a task returned is kept at once, so a kill costs the tasks in flight and nothing else.
Timing comes last, on devices where nothing else runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from harness.commits import Commits
from harness.errors import HarnessError, UsageError
from harness.identity import canonical_json
from harness.inputs import InputHandles
from harness.ledger import Ledger
from harness.planning.plan import Plan, PlannedTrial
from harness.pools.local import failure_of
from harness.pools.pool import Pool
from harness.spread import Spread
from harness.storage.store import Store
from harness.task import Checkpoint, Failure, Progress, Result, Task, TaskEvent

RETRIES = {"worker-died": 2, "inputs-lost": 2, "out-of-memory": 1}
"""How often a task is tried again after a failure that may not be its own; never with a smaller batch."""
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
        self.finished = store.snapshot().finished() if finished is None else finished
        self.attempts: dict[str, int] = {}
        self.running: dict[str, float] = {}
        self.pending: dict[str, Task] = {}
        self.stopping = False

    def run(self) -> list[Mapping[str, Any]]:
        """Run and commit what is missing; return the rows committed now."""
        done = self.finished
        todo = [p for p in self.plan.trials if p.id not in done]
        if todo:
            self.ledger.recall()
        # Timing comes last. Images are named too: a row needs their output even where the score is already there.
        first = [task_id for planned in todo for task_id in planned.needs if task_id != planned.row.time]
        self.pending = self.ledger.wanted([*first, *(planned.row.time for planned in todo)])
        self.watcher.begin(len(self.plan.trials), len(self.plan.trials) - len(todo), len(self.pending))
        return self._loop(todo)

    def finish(self, task_ids: list[str]) -> None:
        """Run the given tasks and what they need, without any trial; raise HarnessError if one fails."""
        self.ledger.recall()
        self.pending = self.ledger.wanted(task_ids)
        self.watcher.begin(0, 0, len(self.pending))
        self._loop([])
        for task_id in task_ids:
            if task_id in self.ledger.failed:
                raise HarnessError(self.ledger.failed[task_id].sentence)

    def _loop(self, todo: list[PlannedTrial]) -> list[Mapping[str, Any]]:
        commits = Commits(todo, self.ledger, self.store, self.watcher.trial)
        while (commits.waiting or self.pending or self.running) and not self.stopping:
            commits.commit_ready()
            self._spread_searches()
            self._feed()
            if self.running or self.pending:
                told = self.pool.wait(_WAIT_SECONDS)
                if told is not None:
                    self._take(told)
            elif commits.waiting and not any(map(self.ledger.settled, commits.waiting)):
                short = commits.waiting[0].trial.short
                raise HarnessError(f"{short} waits for a task that nobody runs; this is a bug")
        return commits.rows

    def _spread_searches(self) -> None:
        """Put the jobs that searches ask for now before all else that waits; a search fails with any of its jobs."""
        for task in [task for task in self.pending.values() if self.spread.searches(task) and self.ledger.ready(task)]:
            try:
                jobs = self.spread.unfinished(task)
            except Exception as error:  # a method's own code, here in the driver
                self._fail(task, failure_of(error))
                continue
            failed = next((job for job in jobs if job.id in self.ledger.failed), None)
            if failed is not None:
                self.ledger.failed[task.id] = self.ledger.failed[failed.id]
                continue
            fresh = {job.id: job for job in jobs if job.id not in self.pending and job.id not in self.running}
            if fresh:
                self.pending = {**fresh, **self.pending}
                self.watcher.more(len(fresh))

    def _feed(self) -> None:
        """Start every task that may start; exclusive ones only when no other task is left or running."""
        alone = not self._others_active()
        for task in list(self.pending.values()):
            if self.ledger.fails_with(task):
                del self.pending[task.id]
                continue
            if (task.exclusive and not alone) or not self.ledger.ready(task):
                continue
            if self.spread.is_open(task):
                continue
            if task.ranks > self.pool.size():
                sentence = f"{task.label} needs {task.ranks} devices at once; the cluster offers {self.pool.size()}"
                self._fail(task, Failure("too-few-devices", sentence))
                continue
            if self.pool.idle(task.exclusive) < task.ranks:
                if self.pool.idle() == 0:
                    return
                continue
            started = self.spread.concluding(task)
            self.pool.start(started, self.inputs.of(started))
            self.running[task.id] = time.monotonic()
            del self.pending[task.id]

    def _others_active(self) -> bool:
        running = (self.ledger.tasks[t] for t in self.running)
        return any(not t.exclusive for t in self.pending.values()) or any(not t.exclusive for t in running)

    def _take(self, told: TaskEvent) -> None:
        task, event = told.task, told.event
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
            self.watcher.task(task, None)
        else:
            self.running.pop(task.id, None)
            self._fail(task, event)

    def _fail(self, task: Task, failure: Failure) -> None:
        """Try a task again whose worker was lost, a bounded number of times; any other failure is the task's own."""
        self.watcher.task(task, None)
        if task.spec.policy.of_a_users_file and failure.kind == UsageError.__name__:
            raise UsageError(failure.sentence)  # the user's own file: the sentence, before anything is sampled
        self.attempts[task.id] = self.attempts.get(task.id, 0) + 1
        if failure.kind == "inputs-lost":
            self.inputs.forget(self.spread.concluding(task))
        retries = RETRIES.get(failure.kind, 0)
        if self.attempts[task.id] <= retries:
            self.watcher.say(f"{failure.sentence}; trying again ({self.attempts[task.id]} of {retries})")
            self.pending = {task.id: task, **self.pending}
            return
        self.pending.pop(task.id, None)
        if self.attempts[task.id] > 1:
            failure = replace(failure, sentence=f"{failure.sentence} (attempt {self.attempts[task.id]})")
        self.ledger.failed[task.id] = failure
        self.watcher.say(failure.sentence)


def leave_out(plan: Plan, pool: Pool, finished: Container[str], say: Callable[[str], None]) -> Plan:
    """Return the plan without its optional trials that need more devices at once than the pool has.

    Says once which ones are missing for that; raises UsageError if nothing else was asked for.
    """
    small = [p for p in plan.trials if p.trial.optional and p.trial.devices > pool.size()]
    kept = tuple(p for p in plan.trials if p not in small)
    missing = [p.trial for p in small if p.id not in finished]
    if missing:
        needs = ", ".join(f"{trial.short} (needs {trial.devices})" for trial in missing)
        sentence = f"left out for want of devices, of which the cluster offers {pool.size()}: {needs}"
        if not kept:
            raise UsageError(f"{sentence}; nothing else was asked for, so choose other trials or a larger cluster")
        say(sentence)
    return replace(plan, trials=kept)


def check_pool(plan: Plan, pool: Pool) -> None:
    """Raise UsageError if a trial needs more devices at once than the pool has."""
    for planned in plan.trials:
        if planned.trial.devices > pool.size():
            raise UsageError(
                f"{planned.trial.short} needs {planned.trial.devices} devices at once; the cluster offers "
                f"{pool.size()}; choose fewer or a larger cluster"
            )
