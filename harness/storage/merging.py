"""Puts the rows of an arrived results folder into a local one. Adds rows and pictures, overwrites none."""

from __future__ import annotations

from pathlib import Path

from harness.storage.attempts import copy_attempt_into, copy_picture
from harness.storage.lock import RunLock
from harness.storage.planned import read_planned, read_planned_settings, read_title, write_planned
from harness.storage.returned_files import SAMPLES
from harness.storage.snapshot import Snapshot
from harness.storage.store import Store


def merge_results(arrived: Path, folder: Path) -> None:
    """Copy the attempts and pictures that a local folder lacks, and the arrived plan.

    A trial that has a finished row here keeps it. LockedError while a run holds the folder.
    """
    store = Store.create_or_open(folder)
    with RunLock(store.folder):
        _copy_attempts(Store(arrived).snapshot(), store)
        planned = read_planned(arrived)
        if planned is not None:
            write_planned(store.folder, planned, read_title(arrived), read_planned_settings(arrived))

        for picture in sorted((arrived / SAMPLES).glob("*.png")):
            copy_picture(arrived, picture.stem, store.folder)


def _copy_attempts(arrived: Snapshot, store: Store) -> None:
    present = store.snapshot().finished()
    for entry, parts in arrived.latest_attempts():
        if entry.trial_id not in present:
            copy_attempt_into(store, arrived, entry, parts)
