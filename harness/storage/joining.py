"""One results folder out of several: attempts are copied byte by byte, and what contradicts is kept apart and named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreDamagedError, UsageError
from harness.schema.trial_name import trial_name
from harness.storage.attempts import copy_attempt_into, copy_picture
from harness.storage.lock import RunLock
from harness.storage.planned import read_planned, read_planned_settings, read_title, write_planned
from harness.storage.snapshot import Snapshot
from harness.storage.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame

CONFLICTS = "conflicts"
"""In a joined folder: a results folder for each source some of whose rows contradict those of an earlier one."""
_FINISHED = "finished"


@dataclass(frozen=True)
class Joined:
    """What one source brought."""

    source: Path
    new: int
    """Trials that no earlier source had finished."""
    equal: int
    """Trials that one had, without a contradiction."""
    conflicts: tuple[str, ...]
    """A sentence for each that contradicts."""


def join_folders(sources: Sequence[Path], into: Path) -> list[Joined]:
    """Copy the latest attempts and pictures of results folders into a new one, or add them to one that is there.

    Of a trial that several have finished the first row stays. One that differs in its images and, beyond its 95 %
    interval, in its FID, or in its verdict, contradicts: it goes to a results folder of its own below `CONFLICTS`.

    Raises UsageError for a source that is the target too, StoreDamagedError for a damaged one; nothing is copied then.
    LockedError while a run holds the target.
    """
    snapshots = [_intact(source) for source in sources]
    if into.resolve() in [one.folder for one in snapshots]:
        raise UsageError(f"{into} is a source and the target; expected another folder to put the rows into")

    store = Store.create_or_open(into)
    with RunLock(store.folder):
        found = [_join(snapshot, store) for snapshot in snapshots]
        _join_plans([store.folder, *sources], store.folder)
    return found


def _intact(source: Path) -> Snapshot:
    snapshot = Store(source).snapshot()
    if snapshot.damage:
        raise StoreDamagedError(f"{snapshot.damage[0]}; expected an intact folder, see `oneclock doctor {source}`")
    return snapshot


def _join(snapshot: Snapshot, store: Store) -> Joined:
    """Copy what the store lacks of a source."""
    present, rows = _rows_by_id(store.snapshot()), _rows_by_id(snapshot)
    new, equal, conflicts = 0, 0, []
    for entry, parts in snapshot.latest_attempts():
        there, row = present.get(entry.trial_id), rows[entry.trial_id]

        if there is None or there["status"] != _FINISHED:
            copy_attempt_into(store, snapshot, entry, parts)
            copy_picture(snapshot.folder, entry.trial_id, store.folder)
            new += 1
        elif entry.status == _FINISHED and (sentence := describe_contradiction(there, row)):
            conflicts.append(sentence)
            apart = Store.create_or_open(_folder_apart(store.folder, snapshot.folder))
            copy_attempt_into(apart, snapshot, entry, parts)
            copy_picture(snapshot.folder, entry.trial_id, apart.folder)
        else:
            equal += 1
    return Joined(snapshot.folder, new, equal, tuple(conflicts))


def _rows_by_id(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    return {row["trial_id"]: row for row in _records(snapshot.latest())}


def _records(frame: DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def describe_contradiction(there: dict[str, Any], row: dict[str, Any]) -> str:
    """Return in what two finished rows of a trial contradict each other, nothing where they do not.

    The one `there` came first. Rows are dictionaries by column.
    """
    name = f"{trial_name(row['network'], row['method'], row['steps'])} ({row['trial_id'][:12]})"
    if there["verdict"] != row["verdict"]:
        return f"{name} is {there['verdict']} there and {row['verdict']} here"
    if _is_same(there["images_sha256"], row["images_sha256"]):
        return ""

    # other images: the same trial on another machine rounds otherwise
    own, other = _number(row["fid"]), _number(there["fid"])
    allowed = max(_number(one["fid_high"]) - _number(one["fid"]) for one in (there, row))
    if math.isnan(own) or math.isnan(other) or not abs(own - other) > allowed:
        return ""
    return f"{name} has FID {other:.4g} there and {own:.4g} here, more than the {allowed:.2g} of its interval apart"


def _is_same(one: object, other: object) -> bool:
    return isinstance(one, str) and one == other


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _folder_apart(folder: Path, source: Path) -> Path:
    """Return where the contradicting rows of a source go: two of its folders' names say which it is."""
    (folder / CONFLICTS).mkdir(exist_ok=True)
    return folder / CONFLICTS / f"{source.parent.name}-{source.name}"


def _join_plans(folders: Sequence[Path], target: Path) -> None:
    """Write the plan of all folders together; a folder without one has all its rows in it."""
    planned: dict[str, None] = {}
    for folder in folders:
        own = read_planned(folder)
        planned.update(dict.fromkeys(own if own is not None else _rows_by_id(Store(folder).snapshot())))
    titles = [title for folder in folders if (title := read_title(folder))]
    settings = {read_planned_settings(folder) for folder in folders}
    write_planned(target, list(planned), titles[0] if titles else "", settings.pop() if len(settings) == 1 else ())
