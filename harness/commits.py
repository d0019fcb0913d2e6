"""From finished tasks to rows: commits every trial of a plan as soon as its last task has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.assemble import failed_tables, finished_tables
from harness.ledger import Ledger
from harness.planning import PlannedTrial
from harness.pools import Failure
from harness.provenance import provenance
from harness.samples import write_grid
from harness.storage.store import Store

Told = Callable[[PlannedTrial, Mapping[str, Any]], None]


class Commits:
    """The one writer of a run's rows. `waiting` holds the trials without one, `rows` those committed by this run."""

    def __init__(self, todo: list[PlannedTrial], ledger: Ledger, store: Store, told: Told) -> None:
        self.waiting = todo
        self.rows: list[Mapping[str, Any]] = []
        self._ledger = ledger
        self._store = store
        self._told = told

    def commit_ready(self) -> None:
        """Commit every waiting trial whose tasks have ended."""
        self.waiting = [planned for planned in self.waiting if not self._committed(planned)]

    def _committed(self, planned: PlannedTrial) -> bool:
        own = (planned.score, planned.time, *planned.shards)
        failure = next((self._ledger.failed[t] for t in own if t in self._ledger.failed), None)
        if failure is not None:
            self._commit_failed(planned, failure)
        elif self._ledger.settled(planned):
            self._commit(planned)
        else:
            return False
        return True

    def _commit_failed(self, planned: PlannedTrial, failure: Failure) -> None:
        unsound = self._unsound(planned)
        tables = failed_tables(planned, self._ledger.plan, failure.kind, failure.sentence, provenance())
        if unsound is not None:
            tables["trials"][0].update(status="finished", reasons=unsound)
        self._write(planned, tables)

    def _unsound(self, planned: PlannedTrial) -> str | None:
        """Return why the images themselves are no images, where they were made but could not be scored."""
        shards = [self._ledger.facts[s] for s in planned.shards if s in self._ledger.facts]
        bad = sum(s["not_finite"] for s in shards)
        if bad:
            first = min(s["first_not_finite"] for s in shards if s["first_not_finite"] is not None)
            return f"nan-samples: {bad} of {planned.trial.n_images} images hold NaN or infinity, the first is {first}"
        wrong = [s["wrong_shape"] for s in shards if s["wrong_shape"] is not None]
        return f"wrong-shape: the sampler returned {wrong[0]}, not the shape it was given" if wrong else None

    def _commit(self, planned: PlannedTrial) -> None:
        digests, pictures = self._scored_images(planned)
        tables = finished_tables(planned, self._ledger.plan, self._ledger.facts, digests, provenance())
        if pictures is not None:
            write_grid(self._store.folder / "samples" / f"{planned.id}.png", pictures)
        self._write(planned, tables)
        self._ledger.drop_features(planned)

    def _scored_images(self, planned: PlannedTrial) -> tuple[dict[int, str], Any]:
        """Return the digests of the scored images that were timed too, and the first pictures."""
        wanted = {int(index) for index in self._ledger.facts[planned.time]["audit"]}
        digests: dict[int, str] = {}
        pictures = None
        for shard in planned.shards:
            spec = self._ledger.plan.tasks[shard].spec
            mine = sorted(i for i in wanted if spec["start"] <= i < spec["stop"])
            if not mine and spec["start"] > 0:
                continue
            blob = self._ledger.read(shard)
            if blob is None or "digests" not in blob[0]:
                continue
            digests |= {i: blob[0]["digests"][i - spec["start"]].tobytes().hex() for i in mine}
            pictures = blob[0].get("pictures", pictures)
        return digests, pictures

    def _write(self, planned: PlannedTrial, tables: Any) -> None:
        self._store.commit(planned.id, tables)
        self.rows.append(tables["trials"][0])
        self._told(planned, tables["trials"][0])
