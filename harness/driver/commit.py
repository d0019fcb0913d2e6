"""From finished tasks to rows: commits every trial of a plan as soon as its last task has ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from harness.driver.results import TaskResults
from harness.planning.plan import PlannedTrial
from harness.rows.provenance import provenance
from harness.rows.row import failed_tables, finished_tables, timed_images
from harness.rows.sample_grid import write_grid
from harness.schema import Row
from harness.specs.base import Output
from harness.storage.store import Store
from harness.task import Failure

Told = Callable[[PlannedTrial, Mapping[str, Any]], None]


class Rows:
    """The one writer of a run's rows: each is committed as soon as the last task that it tells of has ended."""

    def __init__(self, results: TaskResults, store: Store, failed: Mapping[str, Failure], told: Told) -> None:
        """`failed` holds the failures of tasks by id, `told` hears of every committed row."""
        self.committed: list[Mapping[str, Any]] = []
        self._results = results
        self._store = store
        self._failed = failed
        self._told = told
        self._left: dict[str, int] = {}
        self._of: dict[str, list[PlannedTrial]] = defaultdict(list)
        self._ready: list[PlannedTrial] = []
        self._readers: Counter[str] = Counter()  # by cut task: how many expected rows read its results

    @property
    def waiting(self) -> int:
        """Return how many rows are expected and not committed."""
        return len(self._left)

    @property
    def any_ready(self) -> bool:
        """Tell whether a row can be committed now."""
        return bool(self._ready)

    def expect(self, planned: PlannedTrial) -> None:
        """Take in a trial whose row is to be committed."""
        missing = {task_id for task_id in planned.needs if not self._results.is_done(task_id)}
        self._left[planned.id] = len(missing)
        self._readers.update(self._cut(planned))
        for task_id in missing:
            self._of[task_id].append(planned)
        if not missing:
            self._ready.append(planned)

    def ended(self, task_id: str) -> None:
        """Note that a task has ended, well or not; a row fails with the first task of its own trial that does."""
        for planned in self._of.pop(task_id, ()):
            if planned.id not in self._left or self._left[planned.id] <= 0:
                continue
            self._left[planned.id] -= 1
            if task_id in self._failed and task_id in _own(planned):
                self._left[planned.id] = 0
            if not self._left[planned.id]:
                self._ready.append(planned)

    def commit_ready(self) -> None:
        """Commit every row whose tasks have ended."""
        ready, self._ready = self._ready, []
        if ready:
            self._results.sync()
        for planned in ready:
            del self._left[planned.id]
            failure = next((self._failed[t] for t in _own(planned) if t in self._failed), None)
            if failure is not None:
                self._commit_failed(planned, failure)
            else:
                self._commit(planned)
            self._release_read(planned)

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

    def _release_read(self, planned: PlannedTrial) -> None:
        """Let go of the results that no expected row reads any more."""
        for task_id in self._cut(planned):
            self._readers[task_id] -= 1
            if not self._readers[task_id] and self._results.is_spent(task_id):
                self._results.release(task_id)

    def _cut(self, planned: PlannedTrial) -> list[str]:
        return [task_id for task_id in planned.needs if self._results.tasks[task_id].cut is not None]

    def _outputs(self, task_ids: Iterable[str]) -> dict[str, Output]:
        """Return the outputs of those of these tasks that are done."""
        return {task_id: self._results.output(task_id) for task_id in task_ids if self._results.is_done(task_id)}

    def _write(self, planned: PlannedTrial, tables: Mapping[str, list[Row]]) -> None:
        self._store.commit(planned.id, tables)
        self.committed.append(tables["trials"][0])
        self._told(planned, tables["trials"][0])


def _own(planned: PlannedTrial) -> tuple[str, ...]:
    """Return the tasks of a trial's own, without those of the trials it is compared with."""
    return (planned.row.score_id, planned.row.time_id, *planned.row.sample_ids)
