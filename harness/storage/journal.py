"""Results of units in one journal: a line each with its CRC, arrays in files of the same folder.

`append` only buffers a result. `sync` makes all buffered results durable: arrays first, then the
lines that name them, so a readable line names readable arrays. `sync_if_due` does so every
`JOURNAL_GROUP_SECONDS`. A kill loses what was not synced, and nothing else: a torn last line is
cut off when the journal is opened again.
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
from harness.storage.disk import DISK, TEMP_PREFIX, Disk, make_own_folder, replace, storage_errors

GROUP_BYTES = 64 << 20
"""Buffered results are written once they have this size, or are `JOURNAL_GROUP_SECONDS` old."""
LINES = "journal"
_COMPACT_BYTES = 1 << 20  # dead lines below this size are not worth rewriting the journal


@dataclass(frozen=True)
class _Array:
    """The place of an array: a file in the journal's folder, and its bytes there."""

    name: str
    file: str
    dtype: str
    shape: list[int]
    offset: int
    length: int
    crc: int


class Journal:
    """Metadata and arrays by task and unit.

    One process writes it; hold the run's lock while it exists.
    """

    def __init__(self, folder: Path, disk: Disk = DISK, clock: Callable[[], float] = time.monotonic) -> None:
        """Open or create the journal of a folder.

        What is damaged counts as absent and is named in `warnings`.
        """
        self.folder = folder.resolve()
        self.warnings: list[str] = []
        self._disk, self._clock = disk, clock

        # index of the lines and of the files of arrays
        self._lines: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)  # by task and unit: offset and length
        self._drops: dict[str, tuple[int, list[str]]] = {}  # by task: arrays dropped, and at which offset
        self._size = self._written = 0  # bytes of the journal, with and without the buffer
        self._ends: dict[str, int] = {}  # bytes of the files of arrays, with the buffer
        self._new: set[str] = set()
        self._spent: set[str] = set()  # files of dropped arrays, which the next write of the buffer removes

        # the buffer
        self._pending_lines: list[bytes] = []
        self._pending_arrays: dict[str, list[bytes]] = defaultdict(list)
        self._pending_bytes = 0
        self._due = 0.0
        self._broken = False

        make_own_folder(folder)
        with storage_errors(self.folder, None):
            self._replay()

    # writing

    def append(
        self,
        task_id: str,
        unit: str,
        metadata: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        transient: Collection[str] = (),
    ) -> None:
        """Buffer the result of a unit, replacing an earlier one.

        UnstorableError for a number like NaN. Arrays named in `transient` go to a separate file,
        which `drop_arrays` removes.
        """
        text = canonical_json(dict(metadata))
        if transient and self._file(task_id, True) in self._spent:
            self.sync()
        placed = [self._buffer_array(task_id, name, array, name in transient) for name, array in sorted(arrays.items())]
        heads = [list(vars(one).values()) for one in placed]
        self._buffer_line({"task": task_id, "unit": unit, "arrays": heads}, text)
        self._lines[task_id][unit] = self._last

    def drop_arrays(self, task_id: str, transient: Collection[str]) -> None:
        """Drop these arrays of all units of a task; `sync` removes their file once that is durable."""
        self._buffer_line({"task": task_id, "gone": sorted(transient)}, "")
        self._drops[task_id] = self._last[0], sorted(transient)
        self._spent.add(self._file(task_id, True))

    def evict_task(self, task_id: str) -> None:
        """Evict the index of a task's results from memory; this object reads them no more."""
        self._lines.pop(task_id, None)

    def forget_unit(self, task_id: str, unit: str) -> None:
        """Count a unit as not done, for later processes too."""
        if self._lines[task_id].pop(unit, None) is not None:
            self._buffer_line({"task": task_id, "lost": unit}, "")

    def holds_transient(self, task_id: str) -> bool:
        """Tell whether a task has arrays that `drop_arrays` would remove."""
        file = self._file(task_id, True)
        if file in self._spent:
            return False
        return self._ends.get(file, 0) > 0 or (self.folder / file).exists()

    def sync_if_due(self) -> None:
        """Write the buffer if it is old or large enough."""
        if self._pending_lines and (self._pending_bytes >= GROUP_BYTES or self._clock() >= self._due):
            self.sync()

    def due_seconds(self) -> float:
        """Return the seconds until `sync_if_due` writes the buffer; infinity if that is empty."""
        return max(self._due - self._clock(), 0.0) if self._pending_lines else math.inf

    def sync(self) -> None:
        """Make the buffer durable; blocks. After an error this object writes nothing more."""
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
        while self._spent:
            self._remove(self._spent.pop())
        self._broken = False

    # reading

    def units(self, task_id: str) -> Collection[str]:
        """Return the units of a task that have a result."""
        return self._lines.get(task_id, {}).keys()

    def metadata(self, task_id: str, unit: str) -> dict[str, Any] | None:
        """Return the metadata of a unit; None if there is none or it is damaged."""
        parsed = self._parsed(task_id, unit)
        return None if parsed is None else json.loads(parsed[1])

    def arrays(self, task_id: str, unit: str) -> frozenset[str]:
        """Return the names of a unit's arrays that were not dropped; their bytes are not read."""
        parsed = self._parsed(task_id, unit)
        return frozenset() if parsed is None else frozenset(one.name for one in parsed[0])

    def get(self, task_id: str, unit: str, names: Collection[str] | None = None) -> Blob | None:
        """Return arrays, all or those in `names`, and metadata.

        None if the unit has no result or one is damaged; then it counts as not done.
        """
        parsed = self._parsed(task_id, unit)
        if parsed is None:
            return None
        self.sync()

        # a damaged array makes the unit count as not done
        wanted = [one for one in parsed[0] if names is None or one.name in names]
        arrays = {one.name: self._read(one) for one in wanted}
        found = {name: array for name, array in arrays.items() if array is not None}
        if len(found) < len(arrays):
            lost = ", ".join(sorted(arrays.keys() - found.keys()))
            self.warnings.append(f"{lost} of {task_id[:12]} {unit} in {self.folder} are damaged")
            self.forget_unit(task_id, unit)
            return None
        return found, json.loads(parsed[1])

    # lines

    def _buffer_line(self, head: Mapping[str, Any], metadata: str) -> None:
        line = _encode(head, metadata)
        if not self._pending_lines:
            self._due = self._clock() + JOURNAL_GROUP_SECONDS
        self._pending_lines.append(line)
        self._pending_bytes += len(line)
        self._last = self._size, len(line)
        self._size += len(line)

    def _parsed(self, task_id: str, unit: str) -> tuple[list[_Array], str] | None:
        """Return a unit's arrays that were not dropped, and the text of its metadata."""
        place = self._lines.get(task_id, {}).get(unit)
        if place is None:
            return None

        # read its line
        if place[0] >= self._written:
            self.sync()
        with (self.folder / LINES).open("rb") as stream:
            stream.seek(place[0])
            line = decode_line(stream.read(place[1]))
        if line is None:
            self.warnings.append(f"{task_id[:12]} {unit} in {self.folder} is damaged")
            self.forget_unit(task_id, unit)
            return None

        # without arrays that were dropped after it
        head, metadata = line
        since, gone = self._drops.get(task_id, (0, []))
        arrays = (_Array(*one) for one in head["arrays"])
        return [one for one in arrays if place[0] > since or one.name not in gone], metadata

    def _replay(self) -> None:
        """Index all lines.

        Cut off a torn tail, skip damaged lines, and compact the file if most are dead.
        """
        # lines in order: a later one replaces, drops or forgets
        good, damaged, bad = 0, 0, 0
        for offset, text in read_lines(self.folder / LINES):
            line = decode_line(text)
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

        # damaged lines, and the torn tail
        if damaged:
            self.warnings.append(f"{damaged} lines of {self.folder / LINES} are damaged; what they held is made again")
        if bad > damaged:
            self._disk.cut(self.folder / LINES, good)
        self._size = self._written = good

        # dead lines
        live = sum(length for units in self._lines.values() for _, length in units.values())
        if good - live > max(live, _COMPACT_BYTES):
            self._compact()
        self._remove_unnamed()

    def _compact(self) -> None:
        """Rewrite the journal with only the last line of each unit."""
        wanted = {place[0] for units in self._lines.values() for place in units.values()}
        wanted |= {since for since, _ in self._drops.values()}
        kept = [text for offset, text in read_lines(self.folder / LINES) if offset in wanted]
        replace(self.folder / LINES, b"".join(kept), self._disk)
        self._lines, self._drops = defaultdict(dict), {}
        self._replay()

    # files of arrays

    def _file(self, task_id: str, transient: bool) -> str:
        return f"{task_id}.{'transient' if transient else 'arrays'}"

    def _buffer_array(self, task_id: str, name: str, array: np.ndarray, transient: bool) -> _Array:
        plain = plain_array(name, array)
        data, file = plain.tobytes(), self._file(task_id, transient)
        if file not in self._ends:
            path = self.folder / file
            self._ends[file] = path.stat().st_size if path.exists() else 0
            if not self._ends[file]:
                self._new.add(file)

        # behind what the file will hold
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
        """Remove what a kill has left: dropped arrays, and a half-written journal."""
        for path in self.folder.glob(f"{TEMP_PREFIX}{LINES}-*"):
            self._disk.unlink(path)
        for path in self.folder.glob("*.transient"):
            task_id = path.name.partition(".")[0]
            since, _ = self._drops.get(task_id, (-1, []))
            if not any(at > since for at, _ in self._lines.get(task_id, {}).values()):
                self._remove(path.name)


def _encode(head: Mapping[str, Any], metadata: str) -> bytes:
    body = f"{json.dumps(head, separators=(',', ':'))}\t{metadata}".encode()
    return f"{zlib.crc32(body):08x} ".encode() + body + b"\n"


def decode_line(line: bytes) -> tuple[dict[str, Any], str] | None:
    """Return head and text of the metadata; None for a line that is damaged."""
    crc, _, body = line.partition(b" ")
    if not body.endswith(b"\n") or len(crc) != 8 or crc != b"%08x" % zlib.crc32(body[:-1]):
        return None
    head, _, metadata = body[:-1].decode().partition("\t")
    return json.loads(head), metadata


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of each line of a file; the last one may lack its end."""
    offset = 0
    try:
        stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except FileNotFoundError:
        return
    with stream:
        for line in stream:
            yield offset, line
            offset += len(line)
