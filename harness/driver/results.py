"""Results of finished tasks, on the disk and by name: shared ones in `zoo/`, a suite's own in its journal."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from harness.errors import StoreDamagedError
from harness.planning.plan import Plan
from harness.specs.base import Output
from harness.storage.blobs import Blobs
from harness.storage.journal import Journal
from harness.task import Checkpoint, Result, Task, Unit

KEPT_BYTES_PER_SECOND = 10_000_000
"""Transient arrays are written only where making them anew costs more: so many bytes are worth a device-second.

A kill then costs the units whose arrays lay in the memory of the cluster alone.
"""
_SMALL_BYTES = 1 << 18  # written whatever it costs to make

_LOG = logging.getLogger("oneclock.driver.results")


class TaskResults:
    """What every task of a plan left: its output, and arrays for those that read them."""

    def __init__(self, plan: Plan, folder: Path, root: Path) -> None:
        self.tasks = dict(plan.tasks)
        self.zoo = Blobs(root / "zoo")
        self.journal = Journal(folder / "tasks")
        self._outputs: dict[str, Output] = {}  # of finished tasks that are not cut
        self._left: dict[str, set[int]] = {}  # units of cut tasks that have not ended well
        self._checkpoints: dict[str, Checkpoint] = {}
        self._spenders: dict[str, list[str]] = defaultdict(list)  # by task: who reads its transient arrays
        for task in plan.tasks.values():
            for spent in task.spec.spends():
                self._spenders[spent].append(task.id)
        self._warn()

    # what is finished

    def load_finished(self) -> None:
        """Look up which units of the plan's tasks are finished."""
        for task in self.tasks.values():
            self._look_up(task)
        for task in self.tasks.values():
            if not self.is_done(task.id):
                self._forget_units_without_arrays(task)
            else:
                self.drop_spent(task)

    def add_task(self, task: Task) -> None:
        """Take in a task that the plan did not know, with its output if it is finished."""
        self.tasks[task.id] = task
        self._look_up(task)

    def is_done(self, task_id: str) -> bool:
        """Tell whether all units of a task have ended well."""
        return task_id in self._outputs or not self._left.get(task_id, {0})

    def is_spent(self, task_id: str) -> bool:
        """Tell whether everything that reads the transient arrays of a task is done."""
        spenders = self._spenders.get(task_id)
        return bool(spenders) and all(map(self.is_done, spenders or ()))

    def missing(self, task_id: str) -> list[int]:
        """Return the units of a task that have not ended well."""
        task = self.tasks[task_id]
        if task.cut is None:
            return [] if task_id in self._outputs else [0]
        return sorted(self._left.get(task_id, range(task.unit_count)))

    def unfinished(self, task_ids: Iterable[str]) -> dict[str, Task]:
        """Return the unfinished tasks among these and all that they need, needs first."""
        wanted: dict[str, Task] = {}

        def want(task_id: str) -> None:
            if task_id in wanted or self.is_done(task_id):
                return
            task = self.tasks[task_id]
            for need in task.needs:
                want(need)
            wanted[task_id] = task

        for task_id in task_ids:
            want(task_id)
        return wanted

    # reading

    def output(self, task_id: str) -> Output:
        """Return the output of a finished task; of a cut one the outputs of its units together, in order."""
        if task_id in self._outputs:
            return self._outputs[task_id]
        task = self.tasks[task_id]
        return task.spec.output.merge_units(self._unit_outputs(task))

    def result(self, unit: Unit) -> Result | None:
        """Return what a finished unit left; None where it is damaged, or its transient arrays were not kept."""
        task = unit.task
        shared = task.spec.policy.shared
        blob = self.zoo.get(task.id) if shared else self.journal.get(task.id, _name(unit))
        self._warn()
        if blob is None:
            return None
        output = task.spec.output.model_validate(blob[1])
        return Result(output, blob[0]) if output.arrays() <= blob[0].keys() else None

    def rows_of(self, task_ids: Iterable[str], name: str, indices: Collection[int]) -> dict[int, np.ndarray]:
        """Return rows of an array that has one for each image of these cut tasks, by the indices of the images."""
        found: dict[int, np.ndarray] = {}
        for unit in self._units_of(task_ids):
            span = unit.span
            assert span is not None
            mine = [index for index in indices if span.start <= index < span.stop]
            array = self._array(unit, name) if mine else None
            if array is not None:
                found |= {index: array[index - span.start] for index in mine}
        return found

    def leading_rows(self, task_ids: Iterable[str], name: str) -> np.ndarray | None:
        """Return an array that the first units of these tasks have and later ones have not; None if none has it."""
        arrays = []
        for unit in self._units_of(task_ids):
            array = self._array(unit, name)
            if array is None:
                break
            arrays.append(array)
        return np.concatenate(arrays) if arrays else None

    # keeping

    def keep(self, unit: Unit, result: Result) -> None:
        """Keep the result of a unit; raise UsageError if its output holds a number that no table can."""
        task, facts = unit.task, result.output.model_dump(mode="json")
        if task.spec.policy.shared:
            self.zoo.put(task.id, result.tensors, facts)
        else:
            transient = task.spec.policy.transient
            kept = not self.is_spent(task.id) and _pays_to_keep(result, transient)
            arrays = result.tensors if kept else _without(result.tensors, transient)
            self.journal.append(task.id, _name(unit), facts, arrays, transient)
        if task.cut is None:
            self._outputs[task.id] = result.output
        else:
            left = self._left.setdefault(task.id, set(range(task.unit_count)))
            left.discard(unit.number)
            if not left:
                self._left[task.id] = set()  # an emptied set keeps its room
        if task.spec.policy.resumes:
            self._checkpoints.pop(task.id, None)
            self.zoo.drop(_partial(task))

    def keep_checkpoint(self, task: Task, checkpoint: Checkpoint) -> None:
        """Keep the state of a task in place of its last one."""
        self._checkpoints[task.id] = checkpoint
        self.zoo.put_latest(_partial(task), checkpoint.tensors, checkpoint.metadata)

    def checkpoint(self, task: Task) -> Checkpoint | None:
        """Return the last kept state of a task that resumes and did not end."""
        if task.id in self._checkpoints or not task.spec.policy.resumes:
            return self._checkpoints.get(task.id)
        blob = self.zoo.get(_partial(task))
        if blob is None:
            return None
        _LOG.info("%s continues at step %s", task.label, blob[1]["step"])
        return Checkpoint(*blob)

    def forget(self, unit: Unit) -> None:
        """Let a unit count as not done: what it left was lost."""
        task = unit.task
        if task.spec.policy.shared:
            self.zoo.drop(task.id)
        else:
            self.journal.forget(task.id, _name(unit))
        self._outputs.pop(task.id, None)
        if task.cut is not None:
            self._left.setdefault(task.id, set()).add(unit.number)

    def drop_spent(self, task: Task) -> None:
        """Drop the transient arrays that nobody but this task, which is done, was to read."""
        for spent in task.spec.spends():
            if self.is_spent(spent) and self.journal.holds_transient(spent):
                self.journal.drop(spent, self.tasks[spent].spec.policy.transient)

    def release(self, task_id: str) -> None:
        """Let go of the places of a finished cut task's results, which nothing in this run reads any more."""
        self.journal.release(task_id)

    def sync(self) -> None:
        """Make durable all that was kept."""
        self.journal.sync()

    def tick(self) -> None:
        """Make durable what was kept a while ago."""
        self.journal.tick()

    def due_seconds(self, most: float) -> float:
        """Return for how long, at most, `tick` need not be called."""
        return min(most, self.journal.due_seconds())

    # looking up

    def _look_up(self, task: Task) -> None:
        try:
            if task.cut is None:
                facts = self.zoo.facts(task.id) if task.spec.policy.shared else self.journal.facts(task.id, _WHOLE)
                if facts is not None:
                    self._outputs[task.id] = task.spec.output.model_validate(facts)
            elif known := self.journal.units(task.id):
                self._left[task.id] = {unit.number for unit in task.units() if _name(unit) not in known}
                if (facts := self.journal.facts(task.id, next(iter(known)))) is not None:
                    task.spec.output.model_validate(facts)
        except ValidationError:
            _LOG.warning("the kept result of %s was written by another version; it is made again", task.label)
            for unit in list(task.units()):
                self.forget(unit)
        self._warn()

    def _forget_units_without_arrays(self, task: Task) -> None:
        """Forget units whose transient arrays are gone but are needed again, as for a score over more images."""
        for spent in task.spec.spends():
            needed = self.tasks[spent]
            left = set(self.missing(spent))
            for unit in needed.units():
                if unit.number in left:
                    continue
                kept = self.journal.arrays(spent, _name(unit))
                facts = self.journal.facts(spent, _name(unit)) or {}
                if not needed.spec.output.model_validate(facts).arrays() <= kept:
                    self.forget(unit)

    def _unit_outputs(self, task: Task) -> Iterator[Output]:
        for unit in task.units():
            facts = self.journal.facts(task.id, _name(unit))
            if facts is None:
                raise _damaged(unit)
            yield task.spec.output.model_validate(facts)

    def _units_of(self, task_ids: Iterable[str]) -> Iterator[Unit]:
        for task_id in task_ids:
            yield from self.tasks[task_id].units()

    def _array(self, unit: Unit, name: str) -> np.ndarray | None:
        """Return an array that a unit left, None if it left none of that name; raise if it is damaged."""
        blob = self.journal.get(unit.task.id, _name(unit), (name,))
        self._warn()
        if blob is None:
            raise _damaged(unit)
        return blob[0].get(name)

    def _warn(self) -> None:
        for warnings in (self.zoo.warnings, self.journal.warnings):
            for warning in warnings:
                _LOG.warning(warning)
            warnings.clear()


_WHOLE = ""


def _damaged(unit: Unit) -> StoreDamagedError:
    return StoreDamagedError(f"the kept result of {unit.label} is damaged; run again, and it is made again")


def _name(unit: Unit) -> str:
    """Return the name of a unit within its task."""
    span = unit.span
    return _WHOLE if span is None else f"{span.start}-{span.stop}"


def _partial(task: Task) -> str:
    return f"{task.id[:48]}-partial"


def _pays_to_keep(result: Result, transient: tuple[str, ...]) -> bool:
    size = sum(array.nbytes for name, array in result.tensors.items() if name in transient)
    return size <= max(_SMALL_BYTES, KEPT_BYTES_PER_SECOND * result.output.task_seconds)


def _without(tensors: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {name: array for name, array in tensors.items() if name not in names}
