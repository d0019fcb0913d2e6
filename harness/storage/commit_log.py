"""The commit log: the parts of each attempt, with length and hash.

Only what the log names counts.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreDamagedError, UsageError
from harness.identity import canonical_json, content_hash
from harness.schema import SCHEMA_VERSION, TABLES

_TRIAL_ID = re.compile(r"[0-9a-f]{64}")
_ENTRY = re.compile(r"([0-9a-f]{64})-([1-9][0-9]{0,8})\.json")
_PART = re.compile(r"([0-9a-f]{64})-([1-9][0-9]{0,8})-[0-9a-f]{16}\.parquet")
STATUSES = ("finished", "failed")
VERDICTS = ("VALID", "INVALID")

Key = tuple[str, int]  # trial_id, attempt


class OtherVersionError(StoreDamagedError):
    """The entry is intact but was written under another schema version."""


@dataclass(frozen=True, order=True)
class Part:
    """One Parquet file of an attempt."""

    table: str
    name: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, order=True)
class Entry:
    """One committed attempt."""

    trial_id: str
    attempt: int
    status: str
    verdict: str
    parts: tuple[Part, ...]


def check_trial_id(trial_id: str) -> str:
    """Return the trial id if it is a SHA-256 in hex.

    Else UsageError, since it could name a path.
    """
    if not isinstance(trial_id, str) or not _TRIAL_ID.fullmatch(trial_id):
        raise UsageError(f"trial_id is {str(trial_id)[:80]!r}; expected the 64 hex digits of a SHA-256")
    return trial_id


def log_files(folder: Path) -> list[Path]:
    """Return the files of a store's log that are named like entries, sorted."""
    log = folder / "log"
    return sorted(path for path in log.iterdir() if entry_key(path.name)) if log.is_dir() else []


def entry_name(trial_id: str, attempt: int) -> str:
    """Return the file name of an attempt's log entry."""
    return f"{trial_id}-{attempt}.json"


def part_name(trial_id: str, attempt: int, sha256: str) -> str:
    """Return the file name of a part; its hash keeps two writers of one attempt apart."""
    return f"{trial_id}-{attempt}-{sha256[:16]}.parquet"


def entry_key(name: str) -> Key | None:
    """Return the attempt of an entry's file name, or None for a foreign name."""
    match = _ENTRY.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def part_attempt(name: str) -> Key | None:
    """Return the attempt of a part's file name, or None for a foreign name."""
    match = _PART.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def encode_entry(entry: Entry) -> bytes:
    """Return the entry as canonical JSON that holds its own hash."""
    body = {**asdict(entry), "schema_version": SCHEMA_VERSION}
    return (canonical_json({**body, "sha256": content_hash(body)}) + "\n").encode()


def decode_entry(name: str, data: bytes) -> Entry:
    """Return the entry of a file.

    StoreDamagedError, with the reason, if it is torn, altered or foreign.
    """
    try:
        body = json.loads(data)
        claimed = body.pop("sha256")
        if content_hash(body) != claimed:
            raise ValueError("its own SHA-256 does not match")
        version = body.pop("schema_version")
        if version != SCHEMA_VERSION:
            raise OtherVersionError(f"schema version {version}; this program reads version {SCHEMA_VERSION}")
        entry = Entry(**{**body, "parts": tuple(Part(**part) for part in body["parts"])})
        _check(name, entry)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, UsageError) as error:
        raise StoreDamagedError(f"not a whole log entry ({error})") from error
    return entry


def _check(name: str, entry: Entry) -> None:
    key: Any = (entry.trial_id, entry.attempt)
    if entry_key(name) != key:
        raise ValueError("its name and its content disagree")
    if entry.status not in STATUSES or entry.verdict not in VERDICTS:
        raise ValueError("unknown status or verdict")
    for part in entry.parts:
        if part.table not in TABLES or part_attempt(part.name) != key:
            raise ValueError("it names a part that is not its own")
