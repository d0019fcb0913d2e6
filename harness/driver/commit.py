"""From finished tasks to rows: commits each trial of a plan as soon as its last task has ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.driver.results import TaskResults
from harness.planning.plan import PlannedTrial
from harness.rows.provenance import provenance
from harness.rows.row import failed_tables, finished_tables, timed_images
from harness.schema import Row
from harness.specs.base import Output
from harness.storage.sample_grid import write_grid
from harness.storage.store import Store
from harness.task import Failure

OnRow = Callable[[PlannedTrial, Mapping[str, Any]], None]
"""Called for each committed row, in the driver's thread."""


class Rows:
    """The only writer of a run's rows.

    A row is committed as soon as the last task that it reads has ended.
    """

    def __init__(self, results: TaskResults, store: Store, failed: Mapping[str, Failure], on_row: OnRow) -> None:
        """`failed` holds failures by task; `on_row` is called for each committed row."""
        self.committed: list[Mapping[str, Any]] = []
        self._results = results
        self._store = store
        self._failed = failed
        self._on_row = on_row
        self._open_tasks: dict[str, int] = {}  # by trial: how many of its tasks have not ended
        self._waiting_for: dict[str, list[PlannedTrial]] = defaultdict(list)  # by task
        self._ready: list[PlannedTrial] = []
        self._readers: Counter[str] = Counter()  # by cut task: number of expected rows that read its results

    @property
    def waiting(self) -> int:
        """Return how many rows are expected and not committed."""
        return len(self._open_tasks)

    @property
    def any_ready(self) -> bool:
        """Tell whether a row can be committed now."""
        return bool(self._ready)

    def expect_row(self, planned: PlannedTrial) -> None:
        """Register a trial whose row is to be committed."""
        missing = {task_id for task_id in planned.needs if not self._results.is_done(task_id)}
        self._open_tasks[planned.id] = len(missing)
        self._readers.update(self._cut_tasks(planned))
        for task_id in missing:
            self._waiting_for[task_id].append(planned)
        if not missing:
            self._ready.append(planned)

    def note_task_end(self, task_id: str) -> None:
        """Note that a task has ended or failed.

        A row fails with the first failed task of its own trial.
        """
        for planned in self._waiting_for.pop(task_id, ()):
            if planned.id not in self._open_tasks or self._open_tasks[planned.id] <= 0:
                continue
            self._open_tasks[planned.id] -= 1
            if task_id in self._failed and task_id in _own_tasks(planned):
                self._open_tasks[planned.id] = 0
            if not self._open_tasks[planned.id]:
                self._ready.append(planned)

    def commit_ready_rows(self) -> None:
        """Commit every row whose tasks have ended."""
        ready, self._ready = self._ready, []
        if ready:
            self._results.sync()
        for planned in ready:
            del self._open_tasks[planned.id]
            failure = next((self._failed[t] for t in _own_tasks(planned) if t in self._failed), None)
            if failure is not None:
                self._commit_failed(planned, failure)
            else:
                self._commit(planned)
            self._evict_read_results(planned)

    def _commit_failed(self, planned: PlannedTrial, failure: Failure) -> None:
        outputs = self._outputs(planned.row.sample_ids)
        self._write(planned, failed_tables(planned.row, failure.kind, failure.sentence, outputs, provenance()))

    def _commit(self, planned: PlannedTrial) -> None:
        outputs, samples = self._outputs(planned.needs), planned.row.sample_ids
        digests = self._results.rows_of(samples, "digests", timed_images(planned.row, outputs))
        tables = finished_tables(planned.row, outputs, digests, provenance())
        pictures = self._results.leading_rows(samples, "pictures")
        if pictures is not None:
            write_grid(self._store.folder / "samples" / f"{planned.id}.png", pictures)
        self._write(planned, tables)

    def _evict_read_results(self, planned: PlannedTrial) -> None:
        """Evict the results that no expected row reads any more."""
        for task_id in self._cut_tasks(planned):
            self._readers[task_id] -= 1
            if not self._readers[task_id] and self._results.is_spent(task_id):
                self._results.evict_task(task_id)

    def _cut_tasks(self, planned: PlannedTrial) -> list[str]:
        return [task_id for task_id in planned.needs if self._results.tasks[task_id].cut is not None]

    def _outputs(self, task_ids: Iterable[str]) -> dict[str, Output]:
        """Return the outputs of those of these tasks that are done."""
        return {task_id: self._results.output(task_id) for task_id in task_ids if self._results.is_done(task_id)}

    def _write(self, planned: PlannedTrial, tables: Mapping[str, list[Row]]) -> None:
        self._store.commit(planned.id, tables)
        self.committed.append(tables["trials"][0])
        self._on_row(planned, tables["trials"][0])


def _own_tasks(planned: PlannedTrial) -> tuple[str, ...]:
    """Return the tasks of a trial itself, without those of trials it is compared with."""
    return (planned.row.score_id, planned.row.time_id, *planned.row.sample_ids)
