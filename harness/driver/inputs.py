"""What units are given: handles of the results they read, of images, of files, of the state they go on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.cards import DatasetCard
from harness.data.splits import load_split
from harness.driver.results import TaskResults
from harness.errors import HarnessError
from harness.pools.pool import Pool
from harness.specs.base import ImageSet
from harness.task import CHECKPOINT, IMAGES, Unit


class LostInputsError(HarnessError):
    """Results that a unit reads are not there any more; `units` made them."""

    def __init__(self, reader: Unit, units: list[Unit]) -> None:
        super().__init__(f"{len(units)} results that {reader.label} reads are lost; they are made again")
        self.units = units


class InputHandles:
    """Values put into a pool once and handed to every unit that needs them."""

    def __init__(self, results: TaskResults, pool: Pool, datasets: Mapping[str, DatasetCard]) -> None:
        self._results = results
        self._pool = pool
        self._datasets = datasets
        self._handles: dict[str, Any] = {}

    def for_unit(self, unit: Unit) -> dict[str, Any]:
        """Return the inputs of a unit by name, see `harness.task.Inputs`; raise LostInputsError if some are gone."""
        spec = unit.task.spec
        needed = [one for need in spec.needs() for one in self._results.tasks[need].units()]
        handles = {one.key: handle for one in needed if (handle := self._result(one)) is not None}
        if lost := [one for one in needed if one.key not in handles]:
            raise LostInputsError(unit, lost)
        handles |= {path: self._file(path) for path in spec.files()}
        images = spec.images()
        if images is not None:
            handles[IMAGES] = self._images(images)
        checkpoint = self._results.checkpoint(unit.task)
        if checkpoint is not None:
            handles[CHECKPOINT] = self._pool.put(checkpoint)
        return handles

    def hold(self, unit: Unit, handle: Any) -> None:
        """Hand out this handle for the result of a unit."""
        self._handles[unit.key] = handle

    def release(self, task_ids: tuple[str, ...]) -> None:
        """Let go of the results of these tasks, which nothing else reads."""
        for task_id in task_ids:
            for unit in self._results.tasks[task_id].units():
                self._handles.pop(unit.key, None)

    def release_given(self, inputs: Mapping[str, Any]) -> None:
        """Let go of handles that were given to a unit and turned out to be lost; kept files take their place."""
        for name, handle in inputs.items():
            if self._handles.get(name) is handle:
                del self._handles[name]

    def _result(self, unit: Unit) -> Any:
        """Return the handle of a finished unit's result, from this session or from the disk; None if it is lost."""
        if unit.key not in self._handles:
            result = self._results.result(unit)
            if result is None:
                return None
            self._handles[unit.key] = self._pool.put(result)
        return self._handles[unit.key]

    def _images(self, wanted: ImageSet) -> Any:
        key = f"images/{wanted.dataset}/{wanted.split}"
        if key not in self._handles:
            images = load_split(self._datasets[wanted.dataset], wanted.split).images
            self._handles[key] = self._pool.put(images)
        return self._handles[key]

    def _file(self, path: str) -> Any:
        if path not in self._handles:
            self._handles[path] = self._pool.put(np.frombuffer(Path(path).read_bytes(), np.uint8))
        return self._handles[path]
