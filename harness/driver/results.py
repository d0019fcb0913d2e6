"""What a run knows: which tasks are finished, with which outputs, and which have failed. Files first, memory beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from harness.planning.plan import Plan
from harness.specs.base import Output
from harness.storage.blobs import Blobs
from harness.task import Checkpoint, Failure, Result, Task


class Ledger:
    """The kept results of a plan's tasks: those all suites share in `zoo/`, the others beside the suite's tables."""

    def __init__(self, plan: Plan, folder: Path, root: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.tasks = dict(plan.tasks)
        self.zoo = Blobs(root / "zoo")
        self.own = Blobs(folder / "tasks")
        self.outputs: dict[str, Output] = {}
        self.failed: dict[str, Failure] = {}
        self._checkpoints: dict[str, Checkpoint] = {}
        self._say = say

    def recall(self) -> None:
        """Remember the outputs of every finished task of the plan."""
        for task in self.tasks.values():
            self._recall(task)
        self._forget_spent()

    def adopt(self, task: Task) -> None:
        """Take in a task that the plan did not know, with its output if it is finished."""
        self.tasks[task.id] = task
        self._recall(task)

    def wanted(self, task_ids: Iterable[str]) -> dict[str, Task]:
        """Return the unfinished tasks among these and all that they need, needs first."""
        wanted: dict[str, Task] = {}

        def want(task_id: str) -> None:
            if task_id in self.outputs or task_id in wanted:
                return
            task = self.tasks[task_id]
            for need in task.needs:
                want(need)
            wanted[task_id] = task

        for task_id in task_ids:
            want(task_id)
        return wanted

    def read(self, task_id: str) -> Result | None:
        """Return the result of a finished task from its file; None if there is no intact one."""
        task = self.tasks[task_id]
        blob = self._blobs(task).get(task_id)
        return None if blob is None else Result(task.spec.output.model_validate(blob[1]), blob[0])

    def keep(self, task: Task, result: Result) -> None:
        """Keep a result for good; raise UsageError if its output holds a number that no table can."""
        self._blobs(task).put(task.id, result.tensors, result.output.model_dump(mode="json"))
        self.outputs[task.id] = result.output
        if task.spec.policy.resumes:
            self._checkpoints.pop(task.id, None)
            self._blobs(task).drop(_partial(task))

    def keep_checkpoint(self, task: Task, checkpoint: Checkpoint) -> None:
        """Keep the state of a task in place of its last one."""
        self._checkpoints[task.id] = checkpoint
        self._blobs(task).put_latest(_partial(task), checkpoint.tensors, checkpoint.facts)

    def checkpoint(self, task: Task) -> Checkpoint | None:
        """Return the last kept state of a task that resumes and did not end."""
        if task.id in self._checkpoints or not task.spec.policy.resumes:
            return self._checkpoints.get(task.id)
        blob = self._blobs(task).get(_partial(task))
        if blob is None:
            return None
        self._say(f"{task.label} continues at step {blob[1]['step']}")
        return Checkpoint(*blob)

    def drop_transient(self, task_ids: Iterable[str]) -> None:
        """Drop the arrays of results that have served; the rest of them stays."""
        for task_id in task_ids:
            task = self.tasks[task_id]
            blob = self._blobs(task).get(task_id)
            if blob is None or not blob[0].keys() & set(task.spec.policy.transient):
                continue
            kept = {name: value for name, value in blob[0].items() if name not in task.spec.policy.transient}
            self._blobs(task).put_latest(task_id, kept, self.outputs[task_id].model_dump(mode="json"))

    def _forget_spent(self) -> None:
        """Forget results whose transient arrays are gone but are needed again, as for a score over more images."""
        for task in self.tasks.values():
            if task.id in self.outputs:
                continue
            for needed in task.spec.spends():
                output = self.outputs.get(needed)
                if output is None or not output.arrays():
                    continue
                blobs = self._blobs(self.tasks[needed])
                blob = blobs.get(needed)
                if blob is None or not output.arrays() <= blob[0].keys():
                    blobs.drop(needed)
                    del self.outputs[needed]

    def _recall(self, task: Task) -> None:
        blobs = self._blobs(task)
        facts = blobs.facts(task.id)
        if facts is not None:
            try:
                self.outputs[task.id] = task.spec.output.model_validate(facts)
            except ValidationError:
                blobs.drop(task.id)
                self._say(f"the kept result of {task.label} was written by another version; it is made again")
        for warning in blobs.warnings:
            self._say(warning)
        blobs.warnings.clear()

    def _blobs(self, task: Task) -> Blobs:
        return self.zoo if task.spec.policy.shared else self.own


def _partial(task: Task) -> str:
    return f"{task.id[:48]}-partial"
