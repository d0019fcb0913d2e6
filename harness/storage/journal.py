"""Results of units in one journal: a line each with its CRC, arrays in files beside it, written out in groups.

`append` only takes a result in; `sync` makes all that was taken in durable, arrays first and then the lines that name
them, so a line that can be read names arrays that can. `tick` does so every `JOURNAL_GROUP_SECONDS`. A kill loses what
was not yet synced and nothing before it: a torn last line is cut off when the journal is opened again.
"""

from __future__ import annotations

import json
import math
import os
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.identity import canonical_json
from harness.specs.limits import JOURNAL_GROUP_SECONDS
from harness.storage.blobs import Blob, plain_array
from harness.storage.disk import DISK, TEMP_PREFIX, Disk, replace, storage_errors

GROUP_BYTES = 64 << 20
"""What was taken in is written out once it is so much, or `JOURNAL_GROUP_SECONDS` old."""
LINES = "journal"
_COMPACT_BYTES = 1 << 20  # a journal with less than this of dead lines is left as it is


@dataclass(frozen=True)
class _Array:
    """Where an array lies: a file beside the journal, and its bytes there."""

    name: str
    file: str
    dtype: str
    shape: list[int]
    offset: int
    length: int
    crc: int


class Journal:
    """Facts and arrays by task and unit. One process writes it; hold the run's lock while it lives."""

    def __init__(self, folder: Path, disk: Disk = DISK, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the journal of a folder, or begin one; what is damaged counts as absent and stands in `warnings`."""
        self.folder = folder.resolve()
        self.warnings: list[str] = []
        self._disk, self._clock = disk, clock
        self._lines: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)  # by task and unit: offset and length
        self._drops: dict[str, tuple[int, list[str]]] = {}  # by task: since which offset which arrays are gone
        self._size = self._written = 0  # of the journal, with and without what is not written yet
        self._ends: dict[str, int] = {}  # sizes of the files of arrays, likewise
        self._new: set[str] = set()
        self._pending_lines: list[bytes] = []
        self._pending_arrays: dict[str, list[bytes]] = defaultdict(list)
        self._pending_bytes = 0
        self._due = 0.0
        self._broken = False
        with storage_errors(self.folder, None):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._replay()

    # writing

    def append(
        self,
        task_id: str,
        unit: str,
        facts: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        transient: Collection[str] = (),
    ) -> None:
        """Take in the result of a unit in place of an earlier one; UsageError for a number that no table can hold.

        Arrays named in `transient` go to a file of their own, which `drop` removes.
        """
        text = canonical_json(dict(facts))
        placed = [self._place(task_id, name, array, name in transient) for name, array in sorted(arrays.items())]
        heads = [list(vars(one).values()) for one in placed]
        self._take({"task": task_id, "unit": unit, "arrays": heads}, text)
        self._lines[task_id][unit] = self._last

    def drop(self, task_id: str, transient: Collection[str]) -> None:
        """Let go of these arrays of all units of a task."""
        self._take({"task": task_id, "gone": sorted(transient)}, "")
        self._drops[task_id] = self._last[0], sorted(transient)
        self.sync()
        self._remove(self._file(task_id, True))

    def release(self, task_id: str) -> None:
        """Let go of the places of a task's results in memory: this object reads none of them any more."""
        self._lines.pop(task_id, None)

    def forget(self, task_id: str, unit: str) -> None:
        """Let a unit count as not done, for later processes too."""
        if self._lines[task_id].pop(unit, None) is not None:
            self._take({"task": task_id, "lost": unit}, "")

    def holds_transient(self, task_id: str) -> bool:
        """Tell whether there are arrays of a task that `drop` would remove."""
        file = self._file(task_id, True)
        return self._ends.get(file, 0) > 0 or (self.folder / file).exists()

    def tick(self) -> None:
        """Write out what was taken in, if it is old or large enough."""
        if self._pending_lines and (self._pending_bytes >= GROUP_BYTES or self._clock() >= self._due):
            self.sync()

    def due_seconds(self) -> float:
        """Return in how many seconds `tick` will write something; infinity where nothing waits."""
        return max(self._due - self._clock(), 0.0) if self._pending_lines else math.inf

    def sync(self) -> None:
        """Make all that was taken in durable; after an error nothing more is written by this object."""
        if not self._pending_lines or self._broken:
            return
        self._broken = True
        with storage_errors(self.folder, self._pending_bytes):
            for name, chunks in self._pending_arrays.items():
                self._write(self.folder / name, chunks)
            self._write(self.folder / LINES, [b"".join(self._pending_lines)])
            if self._new:
                self._disk.sync_folder(self.folder)
        self._pending_lines, self._pending_arrays, self._pending_bytes = [], defaultdict(list), 0
        self._new.clear()
        self._written = self._size
        self._broken = False

    # reading

    def units(self, task_id: str) -> Collection[str]:
        """Return the units of a task that have a result."""
        return self._lines.get(task_id, {}).keys()

    def facts(self, task_id: str, unit: str) -> dict[str, Any] | None:
        """Return the facts of a unit, None if there are none that can be read."""
        parsed = self._parsed(task_id, unit)
        return None if parsed is None else json.loads(parsed[1])

    def arrays(self, task_id: str, unit: str) -> frozenset[str]:
        """Return the names of the arrays of a unit that were not dropped; their bytes are not looked at."""
        parsed = self._parsed(task_id, unit)
        return frozenset() if parsed is None else frozenset(one.name for one in parsed[0])

    def get(self, task_id: str, unit: str, names: Collection[str] | None = None) -> Blob | None:
        """Return arrays, all or those of these names, and facts; None, and it counts as not done, if one is damaged."""
        parsed = self._parsed(task_id, unit)
        if parsed is None:
            return None
        self.sync()
        wanted = [one for one in parsed[0] if names is None or one.name in names]
        arrays = {one.name: self._read(one) for one in wanted}
        found = {name: array for name, array in arrays.items() if array is not None}
        if len(found) < len(arrays):
            lost = ", ".join(sorted(arrays.keys() - found.keys()))
            self.warnings.append(f"{lost} of {task_id[:12]} {unit} in {self.folder} are damaged")
            self.forget(task_id, unit)
            return None
        return found, json.loads(parsed[1])

    # lines

    def _take(self, head: Mapping[str, Any], facts: str) -> None:
        line = _encode(head, facts)
        if not self._pending_lines:
            self._due = self._clock() + JOURNAL_GROUP_SECONDS
        self._pending_lines.append(line)
        self._pending_bytes += len(line)
        self._last = self._size, len(line)
        self._size += len(line)

    def _parsed(self, task_id: str, unit: str) -> tuple[list[_Array], str] | None:
        """Return the arrays that were not dropped and the text of the facts."""
        place = self._lines.get(task_id, {}).get(unit)
        if place is None:
            return None
        if place[0] >= self._written:
            self.sync()
        with (self.folder / LINES).open("rb") as stream:
            stream.seek(place[0])
            line = _decode(stream.read(place[1]))
        if line is None:
            self.warnings.append(f"{task_id[:12]} {unit} in {self.folder} is damaged")
            self.forget(task_id, unit)
            return None
        head, facts = line
        since, gone = self._drops.get(task_id, (0, []))
        arrays = (_Array(*one) for one in head["arrays"])
        return [one for one in arrays if place[0] > since or one.name not in gone], facts

    def _replay(self) -> None:
        """Read all lines; cut off a torn tail, leave out damaged lines, and write a new file where most are dead."""
        good, damaged, bad = 0, 0, 0
        for offset, text in _lines(self.folder / LINES):
            line = _decode(text)
            if line is None:
                bad += 1
                continue
            good, damaged = offset + len(text), bad
            head = line[0]
            if "gone" in head:
                self._drops[head["task"]] = offset, head["gone"]
            elif "lost" in head:
                self._lines[head["task"]].pop(head["lost"], None)
            else:
                self._lines[head["task"]][head["unit"]] = offset, len(text)
        if damaged:
            self.warnings.append(f"{damaged} lines of {self.folder / LINES} are damaged; what they held is made again")
        if bad > damaged:
            self._disk.cut(self.folder / LINES, good)
        self._size = self._written = good
        live = sum(length for units in self._lines.values() for _, length in units.values())
        if good - live > max(live, _COMPACT_BYTES):
            self._compact()
        self._remove_unnamed()

    def _compact(self) -> None:
        """Write the journal anew with the last line of each unit alone."""
        wanted = {place[0] for units in self._lines.values() for place in units.values()}
        wanted |= {since for since, _ in self._drops.values()}
        kept = [text for offset, text in _lines(self.folder / LINES) if offset in wanted]
        replace(self.folder / LINES, b"".join(kept), self._disk)
        self._lines, self._drops = defaultdict(dict), {}
        self._replay()

    # files of arrays

    def _file(self, task_id: str, transient: bool) -> str:
        return f"{task_id}.{'transient' if transient else 'arrays'}"

    def _place(self, task_id: str, name: str, array: np.ndarray, transient: bool) -> _Array:
        plain = plain_array(name, array)
        data, file = plain.tobytes(), self._file(task_id, transient)
        if file not in self._ends:
            path = self.folder / file
            self._ends[file] = path.stat().st_size if path.exists() else 0
            if not self._ends[file]:
                self._new.add(file)
        offset = self._ends[file]
        self._ends[file] += len(data)
        self._pending_arrays[file].append(data)
        self._pending_bytes += len(data)
        return _Array(name, file, plain.dtype.name, list(plain.shape), offset, len(data), zlib.crc32(data))

    def _read(self, one: _Array) -> np.ndarray | None:
        try:
            with (self.folder / one.file).open("rb") as stream:
                stream.seek(one.offset)
                data = stream.read(one.length)
        except OSError:
            return None
        if zlib.crc32(data) != one.crc or len(data) != one.length:
            return None
        return np.frombuffer(data, one.dtype).reshape(one.shape).copy()

    def _write(self, path: Path, chunks: list[bytes]) -> None:
        descriptor = self._disk.append(path)
        try:
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[self._disk.write(descriptor, rest) :]
            self._disk.sync_data(descriptor)
        finally:
            os.close(descriptor)

    def _remove(self, file: str) -> None:
        self._ends.pop(file, None)
        with storage_errors(self.folder, 0):
            self._disk.unlink(self.folder / file)

    def _remove_unnamed(self) -> None:
        """Remove what a kill has left: arrays that were dropped, and half of a journal written anew."""
        for path in self.folder.glob(f"{TEMP_PREFIX}{LINES}-*"):
            self._disk.unlink(path)
        for path in self.folder.glob("*.transient"):
            task_id = path.name.partition(".")[0]
            since, _ = self._drops.get(task_id, (-1, []))
            if not any(at > since for at, _ in self._lines.get(task_id, {}).values()):
                self._remove(path.name)


def _encode(head: Mapping[str, Any], facts: str) -> bytes:
    body = f"{json.dumps(head, separators=(',', ':'))}\t{facts}".encode()
    return f"{zlib.crc32(body):08x} ".encode() + body + b"\n"


def _decode(line: bytes) -> tuple[dict[str, Any], str] | None:
    """Return head and text of the facts; None for a line that is not as it was written."""
    crc, _, body = line.partition(b" ")
    if not body.endswith(b"\n") or len(crc) != 8 or crc != b"%08x" % zlib.crc32(body[:-1]):
        return None
    head, _, facts = body[:-1].decode().partition("\t")
    return json.loads(head), facts


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of every line of a file, the last one perhaps without its end."""
    offset = 0
    try:
        stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            yield offset, line
            offset += len(line)
