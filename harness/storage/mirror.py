"""Keeps a remote copy of a results folder while a run fills it, and fills a new folder from that copy.

What is copied: parts and log entries, pictures, the plan, and from `zoo/` weights, artifacts and checkpoints of
trainings. Not the journal of units: a run on another head makes the units of unfinished trials again.

A log entry follows its parts, so that what it names is there. What is named by its content is written once.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from harness.errors import StoreDamagedError, UsageError
from harness.specs.limits import STORAGE_SYNC_SECONDS
from harness.storage.blobs import BLOB_SUFFIX
from harness.storage.commit_log import Part, decode_entry, log_files
from harness.storage.disk import make_own_folder, publish, read_regular
from harness.storage.planned import PLANNED
from harness.storage.remote import RemoteFolder
from harness.storage.returned_files import SAMPLES, is_returned_name
from harness.storage.store import LOG, MARKER, Store

ZOO = "zoo"
_PARTIAL = f"-partial{BLOB_SUFFIX}"
_BLOB = re.compile(rf"{ZOO}/[\w-]+{re.escape(BLOB_SUFFIX)}")
_LOG = logging.getLogger("oneclock.storage.mirror")


class Mirror:
    """Copies one suite's folder, and the zoo next to it, to a remote folder of the same layout."""

    def __init__(self, remote: RemoteFolder, results: Path, suite: str) -> None:
        """List what is there. Blocks on the network; UsageError where it cannot be read."""
        self._remote, self._results, self._suite = remote, results, suite
        self._is_there = set(remote.list_sizes(suite)) | set(remote.list_sizes(ZOO))
        self._stamps: dict[str, tuple[int, int]] = {}  # of files that change: time of the copied state, and length
        self._checkpoints: set[str] = set()  # those here when last seen
        self._turn = threading.Lock()

    def restore(self) -> int:
        """Copy what is missing here from there; return the number of attempts that came.

        Blocks on the network. What is damaged there is left out, with a warning.
        """
        store = Store.create_or_open(self._results / self._suite)
        prefix = f"{self._suite}/"
        entries = sorted(name for name in self._is_there if name.startswith(f"{prefix}{LOG}/"))
        came = sum(self._restore_attempt(store, name.removeprefix(prefix)) for name in entries)

        # weights, artifacts, checkpoints, pictures
        for folder in (store.folder / SAMPLES, self._results / ZOO):
            make_own_folder(folder)
        for name in sorted(self._is_there):
            is_picture = name.startswith(f"{prefix}{SAMPLES}/") and is_returned_name(name.removeprefix(prefix))
            if (is_picture or _BLOB.fullmatch(name)) and not (self._results / name).exists():
                data = self._remote.read(name)
                if data is not None:
                    publish(self._results / name, data)
        return came

    def sync(self) -> None:
        """Copy what is new here. Blocks on the network; UsageError where it cannot be written."""
        with self._turn:
            checkpoints = set()
            for path in sorted((self._results / ZOO).glob(f"*{BLOB_SUFFIX}")):
                name = f"{ZOO}/{path.name}"
                checkpoints |= {name} if name.endswith(_PARTIAL) else set()
                self._copy(name, changes=name.endswith(_PARTIAL))
            for name in self._checkpoints - checkpoints:
                self._remote.remove(name)  # its training has ended, and the weights are there
            self._checkpoints = checkpoints

            # the suite's folder
            folder = self._results / self._suite
            self._copy(f"{self._suite}/{MARKER}")
            for path in log_files(folder):
                self._copy_attempt(path)
            for path in [folder / PLANNED, *sorted((folder / SAMPLES).glob("*.png"))]:
                self._copy(str(path.relative_to(self._results)), changes=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Copy in a thread while the block runs, and once more at its end.

        UsageError if that last copy fails; where the block ends by another exception, a warning.
        """
        self.sync()
        done = threading.Event()
        thread = threading.Thread(target=self._repeat, args=(done,), name="storage-mirror", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended_by = sys.exception()
            done.set()
            thread.join()

            # what came since its last turn
            try:
                self.sync()
            except UsageError as error:
                if ended_by is None:
                    raise
                _LOG.warning("the last results are not copied: %s", error)

    def _repeat(self, done: threading.Event) -> None:
        failed = False
        while not done.wait(STORAGE_SYNC_SECONDS):
            try:
                self.sync()
                failed = False
            except (UsageError, OSError) as error:
                if not failed:
                    _LOG.warning("results are not copied now, and will be tried again: %s", error)
                failed = True

    def _copy_attempt(self, path: Path) -> None:
        name = f"{self._suite}/{LOG}/{path.name}"
        if name in self._is_there:
            return
        try:
            entry = decode_entry(path.name, read_regular(path))
        except (StoreDamagedError, OSError):
            return  # `doctor` names it
        for part in entry.parts:
            self._copy(f"{self._suite}/{part.table}/{part.name}")
        self._copy(name)

    def _copy(self, name: str, changes: bool = False) -> None:
        """Copy one file, once, or after each change. One that vanishes meanwhile is left out."""
        path = self._results / name
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            stamp = found.st_mtime_ns, found.st_size
            if self._stamps.get(name) == stamp if changes else name in self._is_there:
                return
            self._remote.write(name, read_regular(path))
            self._is_there.add(name)
            self._stamps[name] = stamp

    def _restore_attempt(self, store: Store, name: str) -> bool:
        """Copy an attempt that is not here, and tell whether one came."""
        if (store.folder / name).exists() or not is_returned_name(name):
            return False
        try:
            entry = decode_entry(name.rpartition("/")[2], self._remote.read(f"{self._suite}/{name}") or b"")
            parts = [(part, self._read_part(part)) for part in entry.parts]
        except StoreDamagedError as error:
            _LOG.warning("%s/%s is left out: %s", self._remote.uri, name, error)
            return False
        return store.copy_attempt(entry, parts)

    def _read_part(self, part: Part) -> bytes:
        data = self._remote.read(f"{self._suite}/{part.table}/{part.name}")
        if data is None or hashlib.sha256(data).hexdigest() != part.sha256:
            raise StoreDamagedError(f"{part.table}/{part.name} is missing or altered")
        return data
