"""Inputs of units: references to results, images and files that they read, and to a checkpoint."""

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
    """Results that a unit reads are lost; `units` are those that made them."""

    def __init__(self, reader: Unit, units: list[Unit]) -> None:
        super().__init__(f"{len(units)} results that {reader.label} reads are lost; they are made again")
        self.units = units


class InputRefs:
    """Values put into a pool once, and their references for every unit that reads them."""

    def __init__(self, results: TaskResults, pool: Pool, datasets: Mapping[str, DatasetCard]) -> None:
        self._results = results
        self._pool = pool
        self._datasets = datasets
        self._refs: dict[str, Any] = {}

    def for_unit(self, unit: Unit) -> dict[str, Any]:
        """Return the inputs of a unit by name; LostInputsError if some are lost."""
        spec = unit.task.spec

        # results of other tasks
        needed = [one for need in spec.needs() for one in self._results.tasks[need].units()]
        refs = {one.key: ref for one in needed if (ref := self._result(one)) is not None}
        if lost := [one for one in needed if one.key not in refs]:
            raise LostInputsError(unit, lost)

        # files, images, and the state to continue from
        refs |= {path: self._file(path) for path in spec.files()}
        images = spec.images()
        if images is not None:
            refs[IMAGES] = self._images(images)
        checkpoint = self._results.checkpoint(unit.task)
        if checkpoint is not None:
            refs[CHECKPOINT] = self._pool.put(checkpoint)
        return refs

    def cache(self, unit: Unit, ref: Any) -> None:
        """Use this reference for the result of a unit from now on."""
        self._refs[unit.key] = ref

    def evict(self, task_ids: tuple[str, ...]) -> None:
        """Drop the references to results of these tasks, which nothing else reads."""
        for task_id in task_ids:
            for unit in self._results.tasks[task_id].units():
                self._refs.pop(unit.key, None)

    def evict_lost(self, inputs: Mapping[str, Any]) -> None:
        """Drop the references among a unit's inputs, which turned out to be lost.

        Kept files replace them.
        """
        for name, ref in inputs.items():
            if self._refs.get(name) is ref:
                del self._refs[name]

    def _result(self, unit: Unit) -> Any:
        """Return a reference to a unit's result, cached or read from disk; None if lost."""
        if unit.key not in self._refs:
            result = self._results.result(unit)
            if result is None:
                return None
            self._refs[unit.key] = self._pool.put(result)
        return self._refs[unit.key]

    def _images(self, wanted: ImageSet) -> Any:
        key = f"images/{wanted.dataset}/{wanted.split}"
        if key not in self._refs:
            images = load_split(self._datasets[wanted.dataset], wanted.split).images
            self._refs[key] = self._pool.put(images)
        return self._refs[key]

    def _file(self, path: str) -> Any:
        if path not in self._refs:
            self._refs[path] = self._pool.put(np.frombuffer(Path(path).read_bytes(), np.uint8))
        return self._refs[path]
