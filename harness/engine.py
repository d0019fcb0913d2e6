"""Runs what is missing of a plan: feeds a pool, keeps every finished task, commits every finished trial.

The driver alone writes. What a task returned is kept at once, so a kill costs the tasks in flight and nothing else.
Timing comes last, on devices where nothing else runs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from harness.assemble import failed_tables, finished_tables
from harness.data.cards import DatasetCard
from harness.data.pixels import load_split
from harness.errors import HarnessError, UsageError
from harness.identity import canonical_json
from harness.planning import Plan, PlannedTrial
from harness.pools import Failure, Happening, Pool
from harness.provenance import provenance
from harness.samples import write_grid
from harness.storage.blobs import Blobs
from harness.storage.store import Store
from harness.tasks import Checkpoint, Progress, Result, Task

RETRIES = {"worker-died": 2, "inputs-lost": 2, "out-of-memory": 1}
"""How often a task is tried again after a failure that may not be its own; never with a smaller batch."""
_WAIT_SECONDS = 0.5
_SHARED = ("train", "prepare", "reference", "weights")  # kinds kept for all suites


class Watcher(Protocol):
    """Who is told how the run goes."""

    def begin(self, total: int, cached: int, tasks: int) -> None:
        """Told once: trials in all, trials that are already there, tasks to do."""

    def task(self, task: Task, progress: Progress | None) -> None:
        """Told of a task's progress; None when it ended."""

    def trial(self, planned: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Told of every committed row."""

    def say(self, sentence: str) -> None:
        """Told what a person should know."""


class Engine:
    """One run of one plan into one results folder, on one pool. Hold the folder's lock while it lives."""

    def __init__(self, plan: Plan, store: Store, root: Path, pool: Pool, watcher: Watcher) -> None:
        self.plan = plan
        self.store = store
        self.pool = pool
        self.watcher = watcher
        self.blobs = {True: Blobs(root / "zoo"), False: Blobs(store.folder / "tasks")}
        self.facts: dict[str, Mapping[str, Any]] = {}
        self.handles: dict[str, Any] = {}
        self.failed: dict[str, Failure] = {}
        self.attempts: dict[str, int] = {}
        self.running: dict[str, float] = {}
        self.checkpoints: dict[str, Result] = {}
        self.stopping = False

    def run(self) -> list[Mapping[str, Any]]:
        """Run and commit what is missing; return the rows committed now."""
        done = self.store.finished()
        todo = [p for p in self.plan.trials if p.id not in done]
        if todo:
            self._recall()
        pending = self._needed(todo)
        self.watcher.begin(len(self.plan.trials), len(self.plan.trials) - len(todo), len(pending))
        return self._loop(pending, todo)

    def finish(self, task_ids: list[str]) -> None:
        """Run the given tasks and what they need, without any trial; raise HarnessError if one fails."""
        self._recall()
        pending = self._wanted(task_ids)
        self.watcher.begin(0, 0, len(pending))
        self._loop(pending, [])
        for task_id in task_ids:
            if task_id in self.failed:
                raise HarnessError(self.failed[task_id].sentence)

    def _loop(self, pending: dict[str, Task], todo: list[PlannedTrial]) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        while (todo or pending or self.running) and not self.stopping:
            todo = self._commit_ready(todo, rows)
            self._feed(pending)
            if self.running or pending:
                happening = self.pool.wait(_WAIT_SECONDS)
                if happening is not None:
                    self._take(happening, pending)
            elif todo and not self._commit_possible(todo):
                raise HarnessError(f"{todo[0].trial.short} waits for a task that nobody runs; this is a bug")
        return rows

    def _commit_possible(self, todo: list[PlannedTrial]) -> bool:
        return any(all(t in self.facts or t in self.failed for t in p.needs) for p in todo)

    def _recall(self) -> None:
        """Remember the facts of every finished task of the plan."""
        for task_id, task in self.plan.tasks.items():
            blobs = self.blobs[task.kind in _SHARED]
            facts = blobs.facts(task_id)
            if facts is not None:
                self.facts[task_id] = facts
            for warning in blobs.warnings:
                self.watcher.say(warning)
            blobs.warnings.clear()
        self._forget_spent_shards()

    def _forget_spent_shards(self) -> None:
        """Forget shards whose features are gone but are needed again, as for a score over more images."""
        for task in self.plan.tasks.values():
            if task.kind != "score" or task.id in self.facts:
                continue
            for shard in (need for need in task.needs if self.plan.tasks[need].kind == "sample"):
                facts = self.facts.get(shard)
                if facts is None or facts["not_finite"] or facts["wrong_shape"] is not None:
                    continue
                blob = self.blobs[False].get(shard)
                if blob is None or "features" not in blob[0]:
                    self.blobs[False].drop(shard)
                    del self.facts[shard]

    def _needed(self, todo: list[PlannedTrial]) -> dict[str, Task]:
        """Return the unfinished tasks of the trials in the order in which they should start, timing last.

        The shards are named too: the row needs their facts even where the score is already there.
        """
        first = [task_id for planned in todo for task_id in planned.needs if task_id != planned.time]
        return self._wanted([*first, *(planned.time for planned in todo)])

    def _wanted(self, task_ids: list[str]) -> dict[str, Task]:
        """Return the unfinished tasks among these and all that they need, needs first."""
        wanted: dict[str, Task] = {}

        def want(task_id: str) -> None:
            if task_id in self.facts or task_id in wanted:
                return
            task = self.plan.tasks[task_id]
            for need in task.needs:
                want(need)
            wanted[task_id] = task

        for task_id in task_ids:
            want(task_id)
        return wanted

    def _feed(self, pending: dict[str, Task]) -> None:
        """Start every task that may start; exclusive ones only when no other task is left or running."""
        alone = not self._others_active(pending)
        for task in list(pending.values()):
            if self._lost_cause(task):
                del pending[task.id]
                continue
            if task.exclusive and not alone:
                continue
            if not all(need in self.facts for need in task.needs):
                continue
            if task.ranks > self.pool.size():
                sentence = f"{task.label} needs {task.ranks} devices at once; the cluster offers {self.pool.size()}"
                self._fail(task, Failure("too-few-devices", sentence), pending)
                continue
            if self.pool.idle(task.exclusive) < task.ranks:
                if self.pool.idle() == 0:
                    return
                continue
            self.pool.start(task, self._inputs(task))
            self.running[task.id] = time.monotonic()
            del pending[task.id]

    def _others_active(self, pending: Mapping[str, Task]) -> bool:
        running = (self.plan.tasks[t] for t in self.running)
        return any(not t.exclusive for t in pending.values()) or any(not t.exclusive for t in running)

    def _lost_cause(self, task: Task) -> bool:
        """Mark a task failed if one that it needs has failed."""
        for need in task.needs:
            if need in self.failed:
                self.failed[task.id] = self.failed[need]
                return True
        return task.id in self.failed

    def _inputs(self, task: Task) -> dict[str, Any]:
        if task.kind == "score":
            shards = [n for n in task.needs if self.plan.tasks[n].kind == "sample"]
            reference = next(n for n in task.needs if self.plan.tasks[n].kind == "reference")
            starts = [(self.plan.tasks[n].spec["start"], self._handle(n)) for n in shards]
            return {"reference": self._handle(reference), "shards": starts}
        inputs = {need: self._handle(need) for need in task.needs}
        if task.kind in ("train", "reference", "prepare"):
            card = task.spec["sampler"]["dataset"] if "sampler" in task.spec else task.spec["dataset"]
            inputs["images"] = self._images(DatasetCard(**card))
        if task.kind == "weights":
            inputs["weights"] = self._file(task.spec["path"])
        if task.spec.get("extractor", {}).get("path"):
            inputs["extractor_weights"] = self._file(task.spec["extractor"]["path"])
        if task.kind == "train":
            checkpoint = self.checkpoints.get(task.id) or self._stored_checkpoint(task)
            if checkpoint is not None:
                inputs["checkpoint"] = self.pool.put(checkpoint)
        return inputs

    def _handle(self, task_id: str) -> Any:
        """Return the handle of a finished task's result, from this session or from its file."""
        if task_id not in self.handles:
            blob = self.blobs[self.plan.tasks[task_id].kind in _SHARED].get(task_id)
            if blob is None:
                raise HarnessError(
                    f"the kept result of {self.plan.tasks[task_id].label} vanished while the run needed it"
                )
            self.handles[task_id] = self.pool.put(Result(*blob))
        return self.handles[task_id]

    def _images(self, card: DatasetCard) -> Any:
        key = f"images/{card.name}"
        if key not in self.handles:
            self.handles[key] = self.pool.put(load_split(card, card.reference).images)
        return self.handles[key]

    def _file(self, path: str) -> Any:
        import numpy as np

        if path not in self.handles:
            self.handles[path] = self.pool.put(np.frombuffer(Path(path).read_bytes(), np.uint8))
        return self.handles[path]

    def _stored_checkpoint(self, task: Task) -> Result | None:
        blob = self.blobs[True].get(f"{task.id[:48]}-partial")
        if blob is not None:
            self.watcher.say(f"{task.label} continues at step {blob[1]['step']}")
        return None if blob is None else Result(*blob)

    def _take(self, happening: Happening, pending: dict[str, Task]) -> None:
        task, event = happening.task, happening.event
        if isinstance(event, Progress):
            self.watcher.task(task, event)
        elif isinstance(event, Checkpoint):
            self.checkpoints[task.id] = Result(event.tensors, event.facts)
            self.blobs[True].put_latest(f"{task.id[:48]}-partial", event.tensors, event.facts)
        elif isinstance(event, Result):
            seconds = time.monotonic() - self.running.pop(task.id)
            facts = {**event.facts, "task_seconds": seconds, "node": happening.node}
            try:
                canonical_json(facts)
            except UsageError as error:  # such as the loss of a training that diverged
                self._fail(task, Failure("bad-result", f"the result of {task.label}: {error}"), pending)
                return
            self.blobs[task.kind in _SHARED].put(task.id, event.tensors, facts)
            self.facts[task.id] = facts
            self.handles[task.id] = happening.handle
            self._let_go(task)
            self.watcher.task(task, None)
        else:
            self.running.pop(task.id, None)
            self._fail(task, event, pending)

    def _let_go(self, task: Task) -> None:
        """Free what only this task needed: its checkpoint, or the features that it scored."""
        if task.kind == "train":
            self.checkpoints.pop(task.id, None)
            self.blobs[True].drop(f"{task.id[:48]}-partial")
        if task.kind == "score":
            for need in task.needs:
                if self.plan.tasks[need].kind == "sample":
                    self.handles.pop(need, None)

    def _fail(self, task: Task, failure: Failure, pending: dict[str, Task]) -> None:
        """Try a task again whose worker was lost, a bounded number of times; any other failure is the task's own."""
        self.watcher.task(task, None)
        self.attempts[task.id] = self.attempts.get(task.id, 0) + 1
        if failure.kind == "inputs-lost":
            for need in task.needs:
                self.handles.pop(need, None)  # the kept file takes its place
        retries = RETRIES.get(failure.kind, 0)
        if self.attempts[task.id] <= retries:
            self.watcher.say(f"{failure.sentence}; trying again ({self.attempts[task.id]} of {retries})")
            rest = dict(pending)
            pending.clear()
            pending.update({task.id: task, **rest})
            return
        pending.pop(task.id, None)
        if self.attempts[task.id] > 1:
            failure = replace(failure, sentence=f"{failure.sentence} (attempt {self.attempts[task.id]})")
        self.failed[task.id] = failure
        self.watcher.say(failure.sentence)

    def _commit_ready(self, todo: list[PlannedTrial], rows: list[Mapping[str, Any]]) -> list[PlannedTrial]:
        left = []
        for planned in todo:
            own = (planned.score, planned.time, *planned.shards)
            failure = next((self.failed[t] for t in own if t in self.failed), None)
            if failure is not None:
                self._commit_failed(planned, failure, rows)
            elif all(t in self.facts or t in self.failed for t in planned.needs):
                self._commit(planned, rows)
            else:
                left.append(planned)
        return left

    def _commit_failed(self, planned: PlannedTrial, failure: Failure, rows: list[Mapping[str, Any]]) -> None:
        unsound = self._unsound(planned)
        tables = failed_tables(planned, self.plan, failure.kind, failure.sentence, provenance())
        if unsound is not None:
            tables["trials"][0].update(status="finished", reasons=unsound)
        self._write(planned, tables, rows)

    def _unsound(self, planned: PlannedTrial) -> str | None:
        """Return why the images themselves are no images, where they were made but could not be scored."""
        shards = [self.facts[s] for s in planned.shards if s in self.facts]
        bad = sum(s["not_finite"] for s in shards)
        if bad:
            first = min(s["first_not_finite"] for s in shards if s["first_not_finite"] is not None)
            return f"nan-samples: {bad} of {planned.trial.n_images} images hold NaN or infinity, the first is {first}"
        wrong = [s["wrong_shape"] for s in shards if s["wrong_shape"] is not None]
        return f"wrong-shape: the sampler returned {wrong[0]}, not the shape it was given" if wrong else None

    def _commit(self, planned: PlannedTrial, rows: list[Mapping[str, Any]]) -> None:
        digests, pictures = self._scored_images(planned)
        tables = finished_tables(planned, self.plan, self.facts, digests, provenance())
        if pictures is not None:
            write_grid(self.store.folder / "samples" / f"{planned.id}.png", pictures)
        self._write(planned, tables, rows)
        for shard in planned.shards:  # features have served; facts, digests and pictures stay
            tensors = (self.blobs[False].get(shard) or ({}, {}))[0]
            kept = {name: value for name, value in tensors.items() if name != "features"}
            self.blobs[False].put_latest(shard, kept, self.facts[shard])

    def _scored_images(self, planned: PlannedTrial) -> tuple[dict[int, str], Any]:
        """Return the digests of the scored images that were timed too, and the first pictures."""
        wanted = {int(index) for index in self.facts[planned.time]["audit"]}
        digests: dict[int, str] = {}
        pictures = None
        for shard in planned.shards:
            spec = self.plan.tasks[shard].spec
            mine = sorted(i for i in wanted if spec["start"] <= i < spec["stop"])
            if not mine and spec["start"] > 0:
                continue
            blob = self.blobs[False].get(shard)
            if blob is None or "digests" not in blob[0]:
                continue
            digests |= {i: blob[0]["digests"][i - spec["start"]].tobytes().hex() for i in mine}
            pictures = blob[0].get("pictures", pictures)
        return digests, pictures

    def _write(self, planned: PlannedTrial, tables: Any, rows: list[Mapping[str, Any]]) -> None:
        self.store.commit(planned.id, tables)
        rows.append(tables["trials"][0])
        self.watcher.trial(planned, tables["trials"][0])


def check_pool(plan: Plan, pool: Pool) -> None:
    """Raise UsageError if a trial needs more devices at once than the pool has."""
    for planned in plan.trials:
        for method in planned.trial.parts.values():
            if method.device_group() > pool.size():
                raise UsageError(
                    f"{planned.trial.short} needs {method.device_group()} devices at once; the cluster offers "
                    f"{pool.size()}; choose fewer or a larger cluster"
                )
