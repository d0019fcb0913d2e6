"""Ray on this machine: started in a process of its own, tried again where that fails or hangs.

A start that hangs in Ray's own code cannot be ended within a process. In one of its own it can, what it printed reaches
no terminal, and this process may do something else meanwhile. Nothing here imports Ray.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from harness.errors import UsageError
from harness.measure.usable_cores import count_worker_cores
from harness.pools.ray_folder import check_ray_folder
from harness.specs.limits import (
    RAY_END_SECONDS,
    RAY_PAUSE_SECONDS,
    RAY_START_SECONDS,
    RAY_START_TRIES,
    START_POLL_SECONDS,
    START_REPORT_SECONDS,
)

VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # by default 15: then timed calls wait for whatever else runs
    "RAY_TQDM_PATCH_PRINT": "0",  # by default it replaces the builtin, which an audit takes for a method's deed
}
"""Set unless the user has, before anything imports Ray."""
_HEAD = Path(__file__).with_name("ray_head.py")
_MOST_REASON = 200
_KILL_ROUNDS = 20
"""A process may start another one while it is looked for."""
_LOG = logging.getLogger("oneclock.pools.local_ray")


class StartFailedError(Exception):
    """One try to start Ray failed, in a few words."""


class LocalRay:
    """The cluster of this machine that this process has started; at most one."""

    def __init__(self) -> None:
        self._head: subprocess.Popen[bytes] | None = None
        self._printed: IO[bytes] | None = None
        self._began = 0.0
        self._address = ""
        """That the head has printed; empty until it is up."""
        self._owner = 0
        self.starts = 0
        """How many heads were begun."""

    def begin(self) -> bool:
        """Begin to start the cluster and return True; does not wait.

        False where that has begun, or where this process has joined a cluster. UsageError where Ray's folder
        cannot be used.
        """
        if self._head is not None or _joined_address() is not None:
            return False
        check_ray_folder()
        os.environ.update({**VARIABLES, **os.environ})
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as Ray sets it for a cluster that it starts
        _ensure_token()
        patience = {"RAY_gcs_server_port_wait_time_s": str(round(RAY_START_SECONDS)), **os.environ}

        # -P: the folder of the script holds a module named ray
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  (read when a start has failed)
        self._began, self._owner, self._address = time.monotonic(), os.getpid(), ""
        self.starts += 1
        self._head = subprocess.Popen(
            [sys.executable, "-P", str(_HEAD), str(count_worker_cores())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env=patience,
            bufsize=0,  # nothing is read ahead of what a selector reports
            start_new_session=True,  # Ctrl-C is this process's alone
        )
        atexit.register(self.end)
        return True

    def start(self, join: Callable[[str], None]) -> None:
        """Start the cluster and join it by its address; blocks for seconds, on a busy machine for minutes.

        What fails is tried again, with a message. UsageError after the last try, with the way out.
        """
        reason = ""
        try:
            for number in range(1, RAY_START_TRIES + 1):
                self.begin()
                try:
                    join(self._wait_for_address())
                    return
                except StartFailedError as error:
                    reason = str(error)

                # clean up, and give others time to end
                _LOG.debug("Ray printed: %s", self._read_printed())
                self.end()
                if number < RAY_START_TRIES:
                    _LOG.warning("Ray did not start (%s); trying again (%d of %d)", reason, number + 1, RAY_START_TRIES)
                    time.sleep(RAY_PAUSE_SECONDS)
        except BaseException:
            self.end()
            raise

        raise UsageError(
            f"Ray did not start on this machine in {RAY_START_TRIES} tries ({reason}; {_describe_machine()}); run "
            "without it by `oneclock run --in-process` (make benchmark IN_PROCESS=1), or again when less else runs"
        )

    def end(self, start: int | None = None) -> None:
        """End the cluster, however far its start is, and all its processes; blocks for some seconds at most.

        This process leaves it first. With `start` only the head of that number is ended.
        """
        if os.getpid() != self._owner or start not in (None, self.starts):
            return  # a fork of the owner, or a head that has ended
        head, self._head = self._head, None
        if head is None:
            return
        atexit.unregister(self.end)
        if self._address and _joined_address() == self._address:
            sys.modules["ray"].shutdown()  # else its client ends this process a minute later

        # its input ends: it shuts down by itself
        assert head.stdin is not None
        assert head.stdout is not None
        with suppress(OSError):
            head.stdin.close()
        until = time.monotonic() + (RAY_END_SECONDS if self._address else 0.0)
        while not _has_ended(head.pid) and time.monotonic() < until:
            time.sleep(START_POLL_SECONDS)

        # what is left; until the head is waited for, no other process can have its number
        for _ in range(_KILL_ROUNDS):
            left = _session(head.pid)
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
            if not left:
                break
            psutil.wait_procs([one for one in left if one.pid != head.pid], timeout=START_POLL_SECONDS)
        head.wait()
        head.stdout.close()

    def _wait_for_address(self) -> str:
        """Return the address that the head prints; StartFailedError if it ends or takes too long."""
        assert self._head is not None
        assert self._head.stdout is not None
        reported = self._began
        while True:
            line = _read_line(self._head.stdout, START_POLL_SECONDS)
            if line.startswith("address "):
                self._address = line.split()[1]
                return self._address
            if not line and _has_ended(self._head.pid):  # its output may stay open: what it has started holds it too
                raise StartFailedError(self._last_words())

            # it takes its time
            now = time.monotonic()
            if now - self._began > RAY_START_SECONDS:
                raise StartFailedError(f"no answer within {RAY_START_SECONDS:g} s")
            if now - reported > START_REPORT_SECONDS:
                reported = now
                _LOG.info("Ray has been starting for %.0f s (%s)", now - self._began, _describe_machine())

    def _last_words(self) -> str:
        """Return the last line that the head printed, which names the error it ended with."""
        lines = [line.strip() for line in self._read_printed().splitlines() if line.strip()]
        return lines[-1][:_MOST_REASON] if lines else "its process ended without a word"

    def _read_printed(self) -> str:
        if self._printed is None:
            return ""
        self._printed.seek(0)
        return self._printed.read().decode(errors="replace")


LOCAL_RAY = LocalRay()
"""That of this process."""


def _ensure_token() -> None:
    """Set a token for this process where Ray cannot write a new one to ~/.ray."""
    given = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if given:
        return
    try:
        folder = Path.home() / ".ray"
    except RuntimeError:  # a container may run as a user that no list names
        folder = Path(os.devnull)
    if (folder / "auth_token").is_file():
        return
    if not os.access(folder if folder.is_dir() else folder.parent, os.W_OK) or folder == Path(os.devnull):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _joined_address() -> str | None:
    """Return the address of the cluster that this process has joined, None without one. Imports nothing."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    return str(ray.get_runtime_context().gcs_address)


def _read_line(stream: IO[bytes], seconds: float) -> str:
    """Return the next line of an unbuffered pipe; "" if none comes within so long, or at its end."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        line = stream.readline() if selector.select(seconds) else b""
    if not line:
        time.sleep(START_POLL_SECONDS)  # at its end it is always ready
    return line.decode(errors="replace")


def _has_ended(child: int) -> bool:
    """Tell whether a child has ended, without waiting for it: so its number stays its own."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _session(leader: int) -> set[psutil.Process]:
    """Return the living processes of a session and all below its leader, also those whose parent has ended.

    The leader is a child of this process that was not waited for.
    """
    found = set()
    with suppress(psutil.Error):
        found.update(psutil.Process(leader).children(recursive=True))
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if os.getsid(pid) == leader:
                found.add(psutil.Process(pid))
    return {one for one in found if _is_alive(one)}


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _describe_machine() -> str:
    """Return what may keep Ray from starting: the load, and the room for its objects where that is small."""
    words = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    with suppress(OSError):
        free = psutil.disk_usage("/dev/shm").free
        if free < _LEAST_SHARED_BYTES:
            words += f", {free // 1_000_000} MB free in /dev/shm"
    return words


_LEAST_SHARED_BYTES = 500_000_000
"""Ray puts its objects into /dev/shm; with less it takes a folder on a disk, or fails."""
