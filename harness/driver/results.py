"""Results of finished tasks, on disk and cached: in `zoo/` if shared, else in the journal."""

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
from harness.task import Checkpoint, Result, Task, Unit, unfinished_with_needs

KEPT_BYTES_PER_SECOND = 10_000_000
"""Transient arrays are written only if that is cheaper than computing: bytes per device-second.

A kill then costs the units whose arrays were only in the cluster's memory.
"""
_SMALL_BYTES = 1 << 18  # written in any case

_LOG = logging.getLogger("oneclock.driver.results")


class TaskResults:
    """Outputs of the tasks of a plan, and their arrays for the tasks that read them.

    Only the driver's thread calls it. Reading and `sync` block on the disk.
    """

    def __init__(self, plan: Plan, folder: Path, root: Path) -> None:
        self.tasks = dict(plan.tasks)
        self.zoo = Blobs(root / "zoo")
        self.journal = Journal(folder / "tasks")
        self._outputs: dict[str, Output] = {}  # of finished tasks that are not cut
        self._left: dict[str, set[int]] = {}  # by cut task: numbers of units that are not done
        self._checkpoints: dict[str, Checkpoint] = {}
        self._spenders: dict[str, list[str]] = defaultdict(list)  # by task: the tasks that read its transient arrays
        for task in plan.tasks.values():
            for spent in task.spec.spends():
                self._spenders[spent].append(task.id)
        self._warn()

    # what is finished

    def load_finished(self) -> None:
        """Find out which units of the plan's tasks are finished."""
        for task in self.tasks.values():
            self._look_up(task)
        for task in self.tasks.values():
            if not self.is_done(task.id):
                self._forget_units_without_arrays(task)
            else:
                self.drop_spent(task)

    def add_task(self, task: Task) -> None:
        """Add a task that is not in the plan, with its output if it is finished."""
        self.tasks[task.id] = task
        self._look_up(task)

    def is_done(self, task_id: str) -> bool:
        """Tell whether all units of a task have succeeded."""
        return task_id in self._outputs or not self._left.get(task_id, {0})

    def is_spent(self, task_id: str) -> bool:
        """Tell whether all tasks that read the transient arrays of a task are done."""
        spenders = self._spenders.get(task_id)
        return bool(spenders) and all(map(self.is_done, spenders or ()))

    def readers(self, task_id: str) -> list[str]:
        """Return the tasks that read the transient arrays of a task."""
        return self._spenders.get(task_id, [])

    def missing_units(self, task_id: str) -> list[int]:
        """Return the numbers of a task's units that are not done."""
        task = self.tasks[task_id]
        if task.cut is None:
            return [] if task_id in self._outputs else [0]
        return sorted(self._left.get(task_id, range(task.unit_count)))

    def unfinished(self, task_ids: Iterable[str]) -> dict[str, Task]:
        """Return the unfinished ones of these tasks and of all tasks they need, needs first."""
        return unfinished_with_needs(self.tasks, task_ids, self.is_done)

    # reading

    def output(self, task_id: str) -> Output:
        """Return the output of a finished task; for a cut task that of all its units, in order."""
        if task_id in self._outputs:
            return self._outputs[task_id]
        task = self.tasks[task_id]
        return task.spec.output.merge_units(self._unit_outputs(task))

    def result(self, unit: Unit) -> Result | None:
        """Return the result of a finished unit.

        None if it is damaged or lacks transient arrays.
        """
        task = unit.task
        shared = task.spec.policy.shared
        blob = self.zoo.get(task.id) if shared else self.journal.get(task.id, _name(unit))
        self._warn()
        if blob is None:
            return None
        output = task.spec.output.model_validate(blob[1])
        return Result(output, blob[0]) if _wanted_arrays(task, output) <= blob[0].keys() else None

    def rows_of(self, task_ids: Iterable[str], name: str, indices: Collection[int]) -> dict[int, np.ndarray]:
        """Return rows of an array of these cut tasks by image index.

        The array has one row per image.
        """
        found: dict[int, np.ndarray] = {}
        for unit in self._units_of(task_ids):
            span = unit.span
            assert span is not None
            own = [index for index in indices if span.start <= index < span.stop]
            array = self._array(unit, name) if own else None
            if array is not None:
                found |= {index: array[index - span.start] for index in own}
        return found

    def leading_rows(self, task_ids: Iterable[str], name: str) -> np.ndarray | None:
        """Return an array that only the first units of these tasks have, joined.

        None if no unit has it.
        """
        arrays = []
        for unit in self._units_of(task_ids):
            array = self._array(unit, name)
            if array is None:
                break
            arrays.append(array)
        return np.concatenate(arrays) if arrays else None

    # keeping

    def keep_result(self, unit: Unit, result: Result) -> None:
        """Keep the result of a unit.

        Raises UnstorableError for a number that no table can hold, such as NaN.
        """
        task, fields = unit.task, result.output.model_dump(mode="json")

        # to the zoo or to the journal, there perhaps without transient arrays
        if task.spec.policy.shared:
            self.zoo.put(task.id, result.tensors, fields)
        else:
            transient = task.spec.policy.transient
            kept = not self.is_spent(task.id) and _pays_to_keep(result, transient)
            arrays = result.tensors if kept else _without(result.tensors, transient)
            self.journal.append(task.id, _name(unit), fields, arrays, transient)

        # it counts as done
        if task.cut is None:
            self._outputs[task.id] = result.output
        else:
            left = self._left.setdefault(task.id, set(range(task.unit_count)))
            left.discard(unit.number)
            if not left:
                self._left[task.id] = set()  # an emptied set keeps its memory

        # a finished task needs no checkpoint
        if task.spec.policy.resumes:
            self._checkpoints.pop(task.id, None)
            self.zoo.drop(_partial(task))

    def keep_checkpoint(self, task: Task, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint of a task."""
        self._checkpoints[task.id] = checkpoint
        self.zoo.put_latest(_partial(task), checkpoint.tensors, checkpoint.metadata)

    def checkpoint(self, task: Task) -> Checkpoint | None:
        """Return the last checkpoint of a task that resumes and has not ended; else None."""
        if task.id in self._checkpoints or not task.spec.policy.resumes:
            return self._checkpoints.get(task.id)
        blob = self.zoo.get(_partial(task))
        if blob is None:
            return None
        _LOG.info("%s continues at step %s", task.label, blob[1]["step"])
        return Checkpoint(*blob)

    def forget_tasks(self, kind: str) -> None:
        """Forget what is kept of the plan's tasks of a kind, before `load_finished`; they run again."""
        for task in self.tasks.values():
            if task.kind == kind:
                for unit in list(self.journal.units(task.id)):
                    self.journal.forget_unit(task.id, unit)

    def forget_unit(self, unit: Unit) -> None:
        """Count a unit as not done, since its result is lost."""
        task = unit.task
        if task.spec.policy.shared:
            self.zoo.drop(task.id)
        else:
            self.journal.forget_unit(task.id, _name(unit))
        self._outputs.pop(task.id, None)
        if task.cut is not None:
            self._left.setdefault(task.id, set()).add(unit.number)

    def drop_spent(self, task: Task) -> None:
        """Drop transient arrays that this task was the last to read."""
        for spent in task.spec.spends():
            if self.is_spent(spent) and self.journal.holds_transient(spent):
                self.journal.drop_arrays(spent, self.tasks[spent].spec.policy.transient)

    def evict_task(self, task_id: str) -> None:
        """Evict the index of a cut task's results from memory; this run reads them no more."""
        self.journal.evict_task(task_id)

    def sync(self) -> None:
        """Make all kept results durable."""
        self.journal.sync()

    def sync_if_due(self) -> None:
        """Make results durable that were kept `JOURNAL_GROUP_SECONDS` ago."""
        self.journal.sync_if_due()

    def due_seconds(self, most: float) -> float:
        """Return the seconds until `sync_if_due` must be called, at most `most`."""
        return min(most, self.journal.due_seconds())

    # looking up

    def _look_up(self, task: Task) -> None:
        """Note what is kept of a task; results that another version wrote are forgotten."""
        try:
            if task.cut is None:
                self._look_up_whole(task)
            elif known := self.journal.units(task.id):
                self._left[task.id] = {unit.number for unit in task.units() if _name(unit) not in known}

                # one unit shows which version wrote them
                if (metadata := self.journal.metadata(task.id, next(iter(known)))) is not None:
                    task.spec.output.model_validate(metadata)
        except ValidationError:
            _LOG.warning("the kept result of %s was written by another version; it is made again", task.label)
            for unit in list(task.units()):
                self.forget_unit(unit)
        self._warn()

    def _look_up_whole(self, task: Task) -> None:
        shared = task.spec.policy.shared
        metadata = self.zoo.metadata(task.id) if shared else self.journal.metadata(task.id, _WHOLE)
        if metadata is not None:
            self._outputs[task.id] = task.spec.output.model_validate(metadata)

    def _forget_units_without_arrays(self, task: Task) -> None:
        """Forget units whose dropped arrays are needed again, as for a score over more images."""
        for spent in task.spec.spends():
            needed = self.tasks[spent]
            left = set(self.missing_units(spent))
            for unit in needed.units():
                if unit.number in left:
                    continue
                kept = self.journal.arrays(spent, _name(unit))
                metadata = self.journal.metadata(spent, _name(unit)) or {}
                if not _wanted_arrays(needed, needed.spec.output.model_validate(metadata)) <= kept:
                    self.forget_unit(unit)

    def _unit_outputs(self, task: Task) -> Iterator[Output]:
        for unit in task.units():
            metadata = self.journal.metadata(task.id, _name(unit))
            if metadata is None:
                raise _damaged(unit)
            yield task.spec.output.model_validate(metadata)

    def _units_of(self, task_ids: Iterable[str]) -> Iterator[Unit]:
        for task_id in task_ids:
            yield from self.tasks[task_id].units()

    def _array(self, unit: Unit, name: str) -> np.ndarray | None:
        """Return an array of a unit, None if it has none of that name.

        StoreDamagedError if it is damaged.
        """
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


def _wanted_arrays(task: Task, output: Output) -> frozenset[str]:
    """Return the transient arrays that tasks which read this result need."""
    return frozenset(task.spec.transient()) if output.has_arrays else frozenset()


def _partial(task: Task) -> str:
    return f"{task.id[:48]}-partial"


def _pays_to_keep(result: Result, transient: tuple[str, ...]) -> bool:
    size = sum(array.nbytes for name, array in result.tensors.items() if name in transient)
    return size <= max(_SMALL_BYTES, KEPT_BYTES_PER_SECOND * result.output.task_seconds)


def _without(tensors: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {name: array for name, array in tensors.items() if name not in names}
