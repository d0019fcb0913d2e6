"""What a results root already keeps of a plan's tasks, so that only the rest counts. Nothing there is changed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import HarnessError
from harness.planning.plan import Plan
from harness.planning.search_jobs import SearchJobs
from harness.specs.base import Output
from harness.specs.train import TrainSpec
from harness.storage.kept_results import read_blob_facts, read_kept_units
from harness.task import Task, unfinished_with_needs, unit_key


class KeptTasks:
    """Which tasks of a plan are finished, wholly or in part: the plan's side of `driver.results.TaskResults`."""

    def __init__(self, plan: Plan, results: Path) -> None:
        self._tasks = dict(plan.tasks)
        self._zoo = results / "zoo"
        self._units = read_kept_units(results / plan.suite.name / "tasks")
        self._facts: dict[str, dict[str, Any] | None] = {}
        self._searches = SearchJobs(self)

    def unfinished(self, task_ids: Iterable[str]) -> dict[str, Task]:
        """Return the unfinished ones of these tasks and of all that they need, by id."""
        return unfinished_with_needs(self._tasks, task_ids, self.is_done)

    def is_done(self, task_id: str) -> bool:
        """Tell whether all units of a task are kept."""
        return not self.missing_units(self._tasks[task_id])

    def missing_units(self, task: Task) -> list[int]:
        """Return the numbers of a task's units that are not kept, or lack arrays that a task still reads."""
        if task.spec.policy.shared:
            return [] if self._read_facts(task.id) is not None else [0]
        kept, transient = self._units.get(task.id, {}), set(task.spec.transient())
        if transient and not self._is_spent(task.id):
            kept = {unit: names for unit, names in kept.items() if transient <= names}
        return [unit.number for unit in task.units() if unit.key not in {_key(task, name) for name in kept}]

    def trained_share(self, task: Task) -> float:
        """Return how much of a training its last checkpoint holds, 0 to 1."""
        if not isinstance(task.spec, TrainSpec):
            return 0.0
        facts = read_blob_facts(self._zoo, f"{task.id[:48]}-partial")
        step = facts.get("step", 0) if facts else 0
        return min(max(float(step) / task.spec.train.steps, 0.0), 1.0) if isinstance(step, int | float) else 0.0

    def search_jobs(self, task: Task) -> tuple[int, int]:
        """Return how many jobs of a search are kept, and how many its current round still has."""
        if not self._searches.is_search(task) or not all(map(self.is_done, task.spec.needs())):
            return 0, 0
        try:
            left = len(self._searches.unfinished_jobs(task))
        except (HarnessError, ValidationError, ArithmeticError, LookupError, TypeError, ValueError):
            return 0, 0  # a method's own code; a run says what is wrong with it
        return self._searches.count_jobs(task) - left, left

    # for `SearchJobs`

    def output(self, task_id: str) -> Output:
        """Return the output of a kept job."""
        facts = self._read_facts(task_id)
        return self._tasks[task_id].spec.output.model_validate(facts)

    def add_task(self, task: Task) -> None:
        """Add a job that a search proposes."""
        self._tasks[task.id] = task

    def _read_facts(self, task_id: str) -> dict[str, Any] | None:
        if task_id not in self._facts:
            self._facts[task_id] = read_blob_facts(self._zoo, task_id)
        return self._facts[task_id]

    @cached_property
    def _spenders(self) -> dict[str, list[str]]:
        """Return the tasks that read the transient arrays of a task, by its id."""
        found: dict[str, list[str]] = {}
        for task in self._tasks.values():
            for spent in task.spec.spends():
                found.setdefault(spent, []).append(task.id)
        return found

    def _is_spent(self, task_id: str) -> bool:
        spenders = self._spenders.get(task_id, [])
        return bool(spenders) and all(map(self.is_done, spenders))


def _key(task: Task, name: str) -> str:
    return f"{task.id}/{name}" if name else unit_key(task.id, None)
