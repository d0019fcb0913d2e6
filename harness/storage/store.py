"""The results folder: immutable Parquet parts and a commit log. Only what the log names counts."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import StoreDamagedError, UsageError, did_you_mean
from harness.identity import canonical_json
from harness.schema import SCHEMA_VERSION, TABLES
from harness.storage.commit_log import (
    STATUSES,
    VERDICTS,
    Entry,
    Part,
    check_trial_id,
    encode_entry,
    entry_key,
    entry_name,
    log_files,
    part_name,
)
from harness.storage.disk import DISK, Disk, Published, is_temp, publish, read_regular, storage_errors
from harness.storage.lock import LOCK_NAME
from harness.storage.parquet_parts import encode
from harness.storage.problems import Problem, inspect, move_aside
from harness.storage.snapshot import Snapshot

MARKER = "store.json"
LOG = "log"
QUARANTINE = "quarantine"
_FORMAT = "oneclock results"


class Store:
    """Committed attempts of one results folder; open it with `create_or_open`."""

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        """Open a store; UsageError for any other folder, or another schema version."""
        self.folder = folder.resolve()
        self._disk = disk
        self._attempts: dict[str, int] | None = (
            None  # by trial: the log's last attempt when this process first committed
        )
        _check_marker(self.folder)
        for name in (*TABLES, LOG, QUARANTINE):
            if (self.folder / name).is_symlink():
                raise UsageError(f"{self.folder / name} is a symbolic link; expected a folder, remove the link")

    @classmethod
    def create_or_open(cls, folder: Path, disk: Disk = DISK) -> Store:
        """Open the store in a folder; a new or empty folder becomes one."""
        folder = folder.resolve()
        with storage_errors(folder, None):
            _make_folder(folder)
            if not (folder / MARKER).exists():
                _claim(folder, disk)
            _check_marker(folder)
            for name in (*TABLES, LOG):
                if not (folder / name).is_symlink():
                    _make_folder(folder / name)
        return cls(folder, disk)

    def commit(self, trial_id: str, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> int:
        """Store the rows of one attempt and return its number.

        After a crash either all of it counts or none. If another writer took the same number
        first, this attempt gets a later one.
        """
        check_trial_id(trial_id)
        status, verdict = _outcome(tables)
        while True:
            attempt = self._next_attempt(trial_id)
            encoded = {name: encode(name, _add_keys(trial_id, attempt, rows)) for name, rows in tables.items() if rows}
            parts = tuple(
                self._put_part(trial_id, attempt, name, data, len(tables[name]))
                for name, data in sorted(encoded.items())
            )
            entry = Entry(trial_id, attempt, status, verdict, parts)
            try:
                publish(self.folder / LOG / entry_name(trial_id, attempt), encode_entry(entry), self._disk)
            except FileExistsError:
                continue
            return attempt

    def copy_attempt(self, entry: Entry, parts: Sequence[tuple[Part, bytes]]) -> bool:
        """Store an attempt of another folder byte by byte, its parts before its log entry.

        Return False, and store nothing, where the trial has an attempt of this or a higher number: the copy would
        not be its latest.
        """
        if entry.attempt < self._next_attempt(entry.trial_id):
            return False
        for part, data in parts:
            self._put_part(entry.trial_id, entry.attempt, part.table, data, part.rows)
        name = entry_name(entry.trial_id, entry.attempt)
        try:
            publish(self.folder / LOG / name, encode_entry(entry), self._disk)
        except FileExistsError:
            return False
        return True

    def snapshot(self, before: Snapshot | None = None) -> Snapshot:
        """Return what the folder holds now.

        Attempts of the snapshot `before` are not read again.
        """
        return Snapshot(self.folder, before)

    def check(self, snapshot: Snapshot | None = None) -> list[Problem]:
        """Return a problem for each file that is not of an intact attempt, sorted by path."""
        return inspect(self.folder, (snapshot or self.snapshot()).damage)

    def quarantine(self) -> list[Problem]:
        """Move what `check` finds to quarantine/, whole attempts with their log entry.

        Nothing is deleted. Entries of another schema version stay, since another version may read
        them. Hold the run's lock.
        """
        problems = [problem for problem in self.check() if problem.kind != "version"]
        self.move_to_quarantine(problems)
        return problems

    def move_to_quarantine(self, problems: Sequence[Problem]) -> None:
        """Move the files of problems to quarantine/, in their order. Hold the run's lock."""
        move_aside(self.folder, self.folder / QUARANTINE, problems)
        self._attempts = None

    def _next_attempt(self, trial_id: str) -> int:
        if self._attempts is None:
            keys = [key for path in log_files(self.folder) if (key := entry_key(path.name))]
            self._attempts = dict(sorted(keys))  # the highest attempt of a trial comes last and stays
        attempt = self._attempts.get(trial_id, 0) + 1
        while os.path.lexists(self.folder / LOG / entry_name(trial_id, attempt)):
            attempt += 1
        return attempt

    def _put_part(self, trial_id: str, attempt: int, table: str, data: bytes, rows: int) -> Part:
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.folder / table / part_name(trial_id, attempt, sha256)
        try:
            done = publish(path, data, self._disk)
        except FileExistsError:  # of a run that was killed before its log entry
            if _bytes_or_none(path) != data:
                raise StoreDamagedError(f"{path} was altered; move it away with `oneclock doctor --fix`") from None
            done = Published(len(data), sha256)
        return Part(table, path.name, done.bytes, done.sha256, rows)


def _outcome(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[str, str]:
    for name in tables:
        if name not in TABLES:
            raise UsageError(f'found the table "{name}"{did_you_mean(name, TABLES)}')
    rows = tables.get("trials", ())
    if len(rows) != 1:
        raise UsageError(f'found {len(rows)} rows for table "trials"; an attempt has exactly one')
    status, verdict = rows[0].get("status"), rows[0].get("verdict")
    if status not in STATUSES or verdict not in VERDICTS or (status, verdict) == ("failed", "VALID"):
        raise UsageError(
            f"found status {status!r} with verdict {verdict!r}; "
            "expected finished with VALID or INVALID, or failed with INVALID"
        )
    return status, verdict


def _add_keys(trial_id: str, attempt: int, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    for row in rows:
        if row.get("trial_id", trial_id) != trial_id or "attempt" in row:
            raise UsageError("a row names another trial or an attempt; the store fills both columns itself")
    return [{**row, "trial_id": trial_id, "attempt": attempt} for row in rows]


def _claim(folder: Path, disk: Disk) -> None:
    names = {p.name for p in folder.iterdir() if not is_temp(p.name) and not p.name.startswith(LOCK_NAME)}
    if MARKER in names:
        return  # another driver was faster
    if strangers := sorted(names):
        raise UsageError(
            f"{folder} holds {strangers[0]!r} and is no results folder of this program; name a new or empty folder"
        )
    text = canonical_json({"format": _FORMAT, "schema_version": SCHEMA_VERSION}) + "\n"
    try:
        publish(folder / MARKER, text.encode(), disk)
    except FileExistsError:
        return  # another driver was faster


def _check_marker(folder: Path) -> None:
    try:
        marker = json.loads(read_regular(folder / MARKER))
        form, version = marker["format"], marker["schema_version"]
    except FileNotFoundError:
        raise UsageError(
            f"{folder} has no {MARKER}, so it is no results folder of this program; name one suite's folder, "
            "for example results/quick"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{folder} is no results folder of this program ({MARKER}: {error})") from error
    if form != _FORMAT or version != SCHEMA_VERSION:
        raise UsageError(
            f"{folder} holds {form!r} of schema version {version}; this program reads version {SCHEMA_VERSION}: "
            "use the version of the program that wrote it, or name another folder"
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{folder} cannot be a folder: a file is in the way ({error.strerror})") from error


def _bytes_or_none(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except OSError:
        return None
