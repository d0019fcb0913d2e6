"""Moves the rows of other plans out of a results folder. Nothing is deleted."""

from __future__ import annotations

from harness.errors import UsageError
from harness.storage.lock import RunLock
from harness.storage.planned import PLANNED, read_planned
from harness.storage.problems import Problem
from harness.storage.returned_files import SAMPLES
from harness.storage.store import Store

STALE = "stale"


def find_stale(store: Store) -> list[Problem]:
    """Return the files of trials that the latest plan does not have: log entries first, then parts and pictures.

    So a move that breaks off leaves orphans, never an entry without its parts. Raises UsageError for a folder
    without a plan.
    """
    planned = read_planned(store.folder)
    if planned is None:
        raise UsageError(f"{store.folder} has no {PLANNED}; expected one, so run its suite, which writes it")
    reason, wanted = "its trial is not of the latest plan", set(planned)
    entries = [entry for entry in store.snapshot().entries if entry.trial_id not in wanted]

    logs = [f"log/{entry.trial_id}-{entry.attempt}.json" for entry in entries]
    parts = [f"{part.table}/{part.name}" for entry in entries for part in entry.parts]
    pictures = sorted({f"{SAMPLES}/{entry.trial_id}.png" for entry in entries})
    return [Problem(STALE, path, reason) for path in (*logs, *parts, *pictures) if (store.folder / path).exists()]


def prune_stale(store: Store) -> int:
    """Move what `find_stale` finds to quarantine/; return how many trials that were. LockedError while a run is on."""
    with RunLock(store.folder):
        found = find_stale(store)
        store.move_to_quarantine(found)
    return len({problem.path.split("/")[1][:64] for problem in found})
