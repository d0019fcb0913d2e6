"""Which files of a results folder are those of its latest plan: what comes home from a cluster."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from harness.schema import TABLES
from harness.storage.commit_log import entry_key, entry_name, part_attempt
from harness.storage.disk import read_regular
from harness.storage.planned import PLANNED, read_planned
from harness.storage.store import LOG, MARKER, Store

SAMPLES = "samples"
_PICTURE = re.compile(r"[0-9a-f]{64}\.png")


@dataclass(frozen=True, order=True)
class ReturnedFile:
    """One file: its path below the results folder with `/`, length in bytes and SHA-256."""

    name: str
    bytes: int
    sha256: str


def list_returned(folder: Path) -> list[ReturnedFile]:
    """Return the files of the latest plan's rows, of each row the last intact attempt: parts before log entries.

    A folder without `planned.json` returns all its rows. StoreDamagedError if that file is damaged.
    """
    planned = read_planned(folder)
    attempts = Store(folder).snapshot().latest_attempts()
    wanted = [entry for entry, _ in attempts if planned is None or entry.trial_id in planned]

    # the log knows the parts, the other files are read
    parts = [ReturnedFile(f"{part.table}/{part.name}", part.bytes, part.sha256) for e in wanted for part in e.parts]
    others = [f"{LOG}/{entry_name(entry.trial_id, entry.attempt)}" for entry in wanted]
    others += [f"{SAMPLES}/{entry.trial_id}.png" for entry in wanted]
    others += [PLANNED, MARKER]
    return [*parts, *(_describe(folder, name) for name in others if (folder / name).is_file())]


def is_returned_name(name: str) -> bool:
    """Tell whether a path is one that `list_returned` can return; no other leaves an archive or a storage."""
    folder, _, file = name.rpartition("/")
    if folder == LOG:
        return entry_key(file) is not None
    if folder == SAMPLES:
        return _PICTURE.fullmatch(file) is not None
    return part_attempt(file) is not None if folder in TABLES else name in (PLANNED, MARKER)


def _describe(folder: Path, name: str) -> ReturnedFile:
    data = read_regular(folder / name)
    return ReturnedFile(name, len(data), hashlib.sha256(data).hexdigest())
