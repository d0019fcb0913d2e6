"""One driver per results folder: a lock file with its holder and heartbeat.

Only a dead holder loses it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from pydantic import BaseModel, ConfigDict

from harness.errors import LockedError, UsageError
from harness.identity import canonical_json
from harness.signals import terminate_on_signal
from harness.specs.limits import LOCK_BEAT_SECONDS, MISSED_BEATS
from harness.storage.disk import publish, read_regular, storage_errors, temp_name

LOCK_NAME = "run.lock"
_LOG = logging.getLogger("oneclock.storage.lock")


class Holder(BaseModel):
    """The content of a lock file: the process that holds it. Missing fields are unknown."""

    model_config = ConfigDict(frozen=True)

    boot_id: str = ""
    host: str = "an unknown host"
    interval_seconds: float = LOCK_BEAT_SECONDS
    pid: int | None = None
    pid_space: str = ""
    process_started: str | None = None
    since: str = "an unknown time"
    token: str = ""

    @property
    def is_here(self) -> bool:
        """Tell whether its process is visible here: same boot, host and namespace."""
        return bool(self.boot_id) and (self.host, self.boot_id, self.pid_space) == _this_machine()

    @property
    def is_alive(self) -> bool:
        """Tell whether the process that wrote it still runs.

        A later one with the same id does not count.
        """
        if self.pid is None or self.pid < 1:
            return True  # unknown: the heartbeat decides
        try:
            os.kill(self.pid, 0)  # signal 0 only checks that the process exists
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return _process_started(self.pid) in (None, self.process_started)

    def why_stale(self, age: float) -> str | None:
        """Return why the holder is gone, or None while it may be alive.

        `age` is seconds since its heartbeat.
        """
        if self.is_here and not self.is_alive:
            return "that process is dead"
        return f"its last heartbeat is {age:.0f} seconds old" if age > MISSED_BEATS * self.interval_seconds else None

    def __str__(self) -> str:
        return f"process {'unknown' if self.pid is None else self.pid} on {self.host}"


class RunLock:
    """Context manager that locks a folder for this process.

    LockedError, naming the holder, if it is taken. A thread renews the heartbeat.
    """

    def __init__(self, folder: Path, interval_seconds: float = LOCK_BEAT_SECONDS) -> None:
        """Prepare a lock on the folder; the heartbeat is renewed every `interval_seconds`."""
        self.folder = folder.resolve()
        self.path = self.folder / LOCK_NAME
        self.taken_over: str | None = None  # message about the stale lock that this one replaced
        self._interval = interval_seconds
        self._own = Holder()
        self._descriptor = -1
        self._stop = threading.Event()
        self._beat: threading.Thread | None = None
        self._signals = contextlib.ExitStack()

    def __enter__(self) -> RunLock:
        if self._beat is not None:
            raise UsageError(f"this process already holds {self.folder}; a lock is entered once")
        with storage_errors(self.folder, None):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._own = _this_process(self._interval)
        self._acquire()
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW)
        self._stop.clear()
        self._beat = threading.Thread(target=self._renew, name="run-lock heartbeat", daemon=True)
        self._beat.start()
        self._signals.enter_context(terminate_on_signal())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() != self._own.pid:
            return  # a forked child leaves its parent's lock alone
        self._signals.close()
        self._stop.set()
        if self._beat is not None:
            self._beat.join()
            self._beat = None
        os.close(self._descriptor)
        with contextlib.suppress(FileNotFoundError), _takeover_turn(self.folder):
            if self.is_held:
                self.path.unlink()

    @property
    def is_held(self) -> bool:
        """Tell whether this lock still holds.

        False after a suspend in which another run took over.
        """
        return _holder_of(self.path).token == self._own.token

    def _acquire(self) -> None:
        for _ in range(3):
            try:
                publish(self.path, canonical_json(self._own.model_dump()).encode())
                return
            except FileExistsError:
                self._clear_if_stale()
        raise LockedError(_refusal(self.folder, _holder_of(self.path)))

    def _clear_if_stale(self) -> None:
        with _takeover_turn(self.folder):
            other = _holder_of(self.path)
            try:
                beat = self.path.lstat().st_mtime
            except FileNotFoundError:
                return  # released in the meantime

            # a dead holder loses it
            reason = other.why_stale(_folder_now(self.folder) - beat)
            if reason is None:
                raise LockedError(_refusal(self.folder, other))
            self.path.rename(self.path.with_name(f"{LOCK_NAME}.stale"))
            self.taken_over = f"took over the lock on {self.folder} of {other}: {reason}"
            _LOG.warning(self.taken_over)

    def _renew(self) -> None:
        while not self._stop.wait(self._interval):
            os.utime(self._descriptor)


def holder(folder: Path) -> int | None:
    """Return the id of the living process on this machine that holds a folder's lock, or None."""
    found = _holder_of(folder / LOCK_NAME)
    return found.pid if found.is_here and found.pid is not None and found.pid > 1 and found.is_alive else None


def _this_process(interval: float) -> Holder:
    host, boot_id, pid_space = _this_machine()
    return Holder(
        boot_id=boot_id,
        host=host,
        interval_seconds=interval,
        pid=os.getpid(),
        pid_space=pid_space,
        process_started=_process_started(os.getpid()),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        token=secrets.token_hex(16),
    )


def _process_started(pid: int) -> str | None:
    """Return a process's start in ticks since boot ("dead" for a zombie); None if hidden."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return "dead" if state in "ZX" else fields[18]


def _this_machine() -> tuple[str, str, str]:
    """Return host name, boot id and process namespace."""
    return socket.gethostname(), _boot_id(), _pid_space()


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _pid_space() -> str:
    """Return the process namespace; each container of a machine has another."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _folder_now(folder: Path) -> float:
    """Return the time by the clock that stamps the folder's files, as of a file server."""
    probe = temp_name(folder / "clock")
    with storage_errors(folder, 0):
        probe.touch(exist_ok=False)
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _holder_of(path: Path) -> Holder:
    with contextlib.suppress(OSError, ValueError):
        return Holder.model_validate_json(read_regular(path))
    return Holder()


@contextlib.contextmanager
def _takeover_turn(folder: Path) -> Iterator[None]:
    """Let one process at a time judge and move a lock.

    The kernel releases it if the process is killed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # not on some network file systems; the commit log is safe anyway
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refusal(folder: Path, other: Holder) -> str:
    return f"{folder} is in use by {other} since {other.since}; wait for it to end, or name another results folder"
