"""What a task is given: handles of the results it needs, of the data set's images, of weights files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.cards import DatasetCard
from harness.data.splits import load_split
from harness.errors import HarnessError
from harness.ledger import Ledger
from harness.pools import Pool
from harness.tasks import Result, Task


class Inputs:
    """Values put into a pool once and handed to every task that needs them."""

    def __init__(self, ledger: Ledger, pool: Pool) -> None:
        self._ledger = ledger
        self._pool = pool
        self._handles: dict[str, Any] = {}

    def of(self, task: Task, jobs: Sequence[Task] = ()) -> dict[str, Any]:
        """Return the inputs of a task whose needs are finished; `jobs` are those of the search that it concludes."""
        tasks = self._ledger.tasks
        if task.kind == "score":
            shards = [n for n in task.needs if tasks[n].kind == "sample"]
            reference = next(n for n in task.needs if tasks[n].kind == "reference")
            starts = [(tasks[n].spec["start"], self._result(n)) for n in shards]
            return {"reference": self._result(reference), "shards": starts}
        inputs = {need: self._result(need) for need in task.needs}
        if task.kind in ("train", "reference", "prepare"):
            card = task.spec["sampler"]["dataset"] if "sampler" in task.spec else task.spec["dataset"]
            inputs["images"] = self._images(DatasetCard(**card), learnt=task.kind != "reference")
            inputs["done"] = [(job.spec["job"], self._result(job.id)) for job in jobs]
        if task.kind == "weights":
            inputs["weights"] = self._file(task.spec["path"])
        if task.spec.get("extractor", {}).get("path"):
            inputs["extractor_weights"] = self._file(task.spec["extractor"]["path"])
        if task.kind == "train":
            checkpoint = self._ledger.checkpoint(task)
            if checkpoint is not None:
                inputs["checkpoint"] = self._pool.put(checkpoint)
        return inputs

    def hold(self, task: Task, handle: Any) -> None:
        """Hand out this handle for the result of a task, and let go of what only that task needed."""
        self._handles[task.id] = handle
        if task.kind == "score":
            for need in task.needs:
                if self._ledger.tasks[need].kind == "sample":
                    self._handles.pop(need, None)

    def forget(self, task: Task, jobs: Sequence[Task] = ()) -> None:
        """Forget the handles of all that a task was given; their kept files take their place."""
        for need in (*task.needs, *(job.id for job in jobs)):
            self._handles.pop(need, None)

    def _result(self, task_id: str) -> Any:
        """Return the handle of a finished task's result, from this session or from its file."""
        if task_id not in self._handles:
            blob = self._ledger.read(task_id)
            if blob is None:
                label = self._ledger.tasks[task_id].label
                raise HarnessError(f"the kept result of {label} vanished while the run needed it")
            self._handles[task_id] = self._pool.put(Result(*blob))
        return self._handles[task_id]

    def _images(self, card: DatasetCard, learnt: bool) -> Any:
        """Return the images that are learnt from, or those that quality is measured against."""
        split = card.training_split if learnt else card.reference
        key = f"images/{card.name}/{split}"
        if key not in self._handles:
            self._handles[key] = self._pool.put(load_split(card, split).images)
        return self._handles[key]

    def _file(self, path: str) -> Any:
        if path not in self._handles:
            self._handles[path] = self._pool.put(np.frombuffer(Path(path).read_bytes(), np.uint8))
        return self._handles[path]
