"""What a run knows: which tasks are finished, with which facts, and which have failed. Files first, memory beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.planning import Plan, PlannedTrial
from harness.pools import Failure
from harness.storage.blobs import Blob, Blobs
from harness.tasks import Checkpoint, Result, Task

_SHARED = ("train", "prepare", "reference", "weights")  # kinds kept for all suites


class Ledger:
    """The kept results of a plan's tasks: those all suites share in `zoo/`, the others beside the suite's tables."""

    def __init__(self, plan: Plan, folder: Path, root: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.tasks = dict(plan.tasks)
        self.zoo = Blobs(root / "zoo")
        self.own = Blobs(folder / "tasks")
        self.facts: dict[str, Mapping[str, Any]] = {}
        self.failed: dict[str, Failure] = {}
        self._checkpoints: dict[str, Result] = {}
        self._say = say

    def recall(self) -> None:
        """Remember the facts of every finished task of the plan."""
        for task in self.tasks.values():
            self._recall(task)
        self._forget_spent_shards()

    def adopt(self, task: Task) -> None:
        """Take in a task that the plan did not know, with its facts if it is finished."""
        self.tasks[task.id] = task
        self._recall(task)

    def wanted(self, task_ids: Iterable[str]) -> dict[str, Task]:
        """Return the unfinished tasks among these and all that they need, needs first."""
        wanted: dict[str, Task] = {}

        def want(task_id: str) -> None:
            if task_id in self.facts or task_id in wanted:
                return
            task = self.tasks[task_id]
            for need in task.needs:
                want(need)
            wanted[task_id] = task

        for task_id in task_ids:
            want(task_id)
        return wanted

    def ready(self, task: Task) -> bool:
        """Tell whether all that a task needs is finished."""
        return all(need in self.facts for need in task.needs)

    def settled(self, planned: PlannedTrial) -> bool:
        """Tell whether every task of a trial has ended, well or not."""
        return all(task in self.facts or task in self.failed for task in planned.needs)

    def fails_with(self, task: Task) -> bool:
        """Mark a task failed if one that it needs has failed."""
        for need in task.needs:
            if need in self.failed:
                self.failed[task.id] = self.failed[need]
                return True
        return task.id in self.failed

    def read(self, task_id: str) -> Blob | None:
        """Return the arrays and facts of a finished task from its file; None if there is no intact one."""
        return self._blobs(self.tasks[task_id]).get(task_id)

    def keep(self, task: Task, tensors: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Keep a result for good."""
        self._blobs(task).put(task.id, tensors, facts)
        self.facts[task.id] = facts
        if task.kind == "train":
            self._checkpoints.pop(task.id, None)
            self.zoo.drop(_partial(task))

    def keep_checkpoint(self, task: Task, checkpoint: Checkpoint) -> None:
        """Keep the state of a training in place of its last one."""
        self._checkpoints[task.id] = Result(checkpoint.tensors, checkpoint.facts)
        self.zoo.put_latest(_partial(task), checkpoint.tensors, checkpoint.facts)

    def checkpoint(self, task: Task) -> Result | None:
        """Return the last kept state of a training that did not end."""
        if task.id in self._checkpoints:
            return self._checkpoints[task.id]
        blob = self.zoo.get(_partial(task))
        if blob is None:
            return None
        self._say(f"{task.label} continues at step {blob[1]['step']}")
        return Result(*blob)

    def drop_features(self, planned: PlannedTrial) -> None:
        """Drop the features of a trial's images, which have served; facts, digests and pictures stay."""
        for shard in planned.shards:
            tensors = (self.own.get(shard) or ({}, {}))[0]
            kept = {name: value for name, value in tensors.items() if name != "features"}
            self.own.put_latest(shard, kept, self.facts[shard])

    def _forget_spent_shards(self) -> None:
        """Forget shards whose features are gone but are needed again, as for a score over more images."""
        for task in self.tasks.values():
            if task.kind != "score" or task.id in self.facts:
                continue
            for shard in (need for need in task.needs if self.tasks[need].kind == "sample"):
                facts = self.facts.get(shard)
                if facts is None or facts["not_finite"] or facts["wrong_shape"] is not None:
                    continue
                blob = self.own.get(shard)
                if blob is None or "features" not in blob[0]:
                    self.own.drop(shard)
                    del self.facts[shard]

    def _recall(self, task: Task) -> None:
        blobs = self._blobs(task)
        facts = blobs.facts(task.id)
        if facts is not None:
            self.facts[task.id] = facts
        for warning in blobs.warnings:
            self._say(warning)
        blobs.warnings.clear()

    def _blobs(self, task: Task) -> Blobs:
        return self.zoo if task.kind in _SHARED else self.own


def _partial(task: Task) -> str:
    return f"{task.id[:48]}-partial"
