"""Copies attempts and pictures from one results folder to another; adds, overwrites nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.storage.commit_log import Entry, Part
from harness.storage.disk import make_own_folder
from harness.storage.returned_files import SAMPLES
from harness.storage.snapshot import Snapshot
from harness.storage.store import Store


def copy_attempt_into(store: Store, snapshot: Snapshot, entry: Entry, parts: list[tuple[Part, bytes]]) -> None:
    """Copy the parts and the log entry of an attempt as they are; where its number is taken, write it anew."""
    if not store.copy_attempt(entry, parts):
        store.commit(entry.trial_id, dict(_rows_of(snapshot, entry)))


def copy_picture(source: Path, trial_id: str, target: Path) -> None:
    """Copy the pictures of a trial from one results folder to another that has none of it."""
    picture, place = source / SAMPLES / f"{trial_id}.png", target / SAMPLES / f"{trial_id}.png"
    if picture.is_file() and not place.exists():
        make_own_folder(place.parent)
        shutil.copyfile(picture, place)


def _rows_of(snapshot: Snapshot, entry: Entry) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the rows of an attempt by table, missing values as None, without columns that `commit` fills."""
    import pandas as pd

    for part in entry.parts:
        table = snapshot.read(part.table)
        own = table[(table["trial_id"] == entry.trial_id) & (table["attempt"] == entry.attempt)]
        plain = own.drop(columns=["trial_id", "attempt"]).astype(object)
        rows = plain.where(pd.notna(plain), None).to_dict("records")
        yield part.table, [{str(name): value for name, value in row.items()} for row in rows]
