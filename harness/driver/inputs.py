"""What tasks are given: handles of the results they read, of images, of files, of the state they go on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.cards import DatasetCard
from harness.data.splits import load_split
from harness.driver.results import Ledger
from harness.errors import HarnessError
from harness.pools.pool import Pool
from harness.specs.base import ImageSet
from harness.task import CHECKPOINT, IMAGES, Task


class InputHandles:
    """Values put into a pool once and handed to every task that needs them."""

    def __init__(self, ledger: Ledger, pool: Pool, datasets: Mapping[str, DatasetCard]) -> None:
        self._ledger = ledger
        self._pool = pool
        self._datasets = datasets
        self._handles: dict[str, Any] = {}

    def of(self, task: Task) -> dict[str, Any]:
        """Return the inputs of a task whose needs are finished, by name; see `harness.task.Inputs`."""
        spec = task.spec
        handles = {need: self._result(need) for need in spec.needs()}
        handles |= {path: self._file(path) for path in spec.files()}
        images = spec.images()
        if images is not None:
            handles[IMAGES] = self._images(images)
        checkpoint = self._ledger.checkpoint(task)
        if checkpoint is not None:
            handles[CHECKPOINT] = self._pool.put(checkpoint)
        return handles

    def hold(self, task: Task, handle: Any) -> None:
        """Hand out this handle for the result of a task, and let go of what that task alone needed."""
        self._handles[task.id] = handle
        for spent in task.spec.spends():
            self._handles.pop(spent, None)

    def forget(self, task: Task) -> None:
        """Forget the handles of all that a task was given; their kept files take their place."""
        for need in task.spec.needs():
            self._handles.pop(need, None)

    def _result(self, task_id: str) -> Any:
        """Return the handle of a finished task's result, from this session or from its file."""
        if task_id not in self._handles:
            result = self._ledger.read(task_id)
            if result is None:
                label = self._ledger.tasks[task_id].label
                raise HarnessError(f"the kept result of {label} vanished while the run needed it")
            self._handles[task_id] = self._pool.put(result)
        return self._handles[task_id]

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
