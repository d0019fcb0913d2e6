"""Ray on this machine: started in a process of its own, tried again where that fails or hangs.

A start that hangs in Ray's own code cannot be ended within a process. In one of its own it can, what it printed reaches
no terminal, and this process may do something else meanwhile. Nothing here imports Ray.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import select
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
}
"""Set unless the user has, before anything imports Ray."""
_HEAD = Path(__file__).with_name("ray_head.py")
_MOST_REASON = 200
_LOG = logging.getLogger("oneclock.pools.local_ray")


class StartFailedError(Exception):
    """One try to start Ray failed, in a few words."""


class LocalRay:
    """The cluster of this machine that this process has started; at most one."""

    def __init__(self) -> None:
        self._head: subprocess.Popen[str] | None = None
        self._printed: IO[bytes] | None = None
        self._began = 0.0
        self._is_up = False

    def begin(self) -> None:
        """Begin to start the cluster unless that has begun; does not wait."""
        if self._head is not None:
            return
        os.environ.update({**VARIABLES, **os.environ})
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as Ray sets it for a cluster that it starts
        _ensure_token()
        patience = {"RAY_gcs_server_port_wait_time_s": str(round(RAY_START_SECONDS)), **os.environ}

        # -P: the folder of the script holds a module named ray
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  (read when a start has failed)
        self._began = time.monotonic()
        self._head = subprocess.Popen(
            [sys.executable, "-P", str(_HEAD), str(usable_cores())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env=patience,
            text=True,
            start_new_session=True,  # Ctrl-C is this process's alone
        )
        atexit.register(self.end)

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

    def end(self) -> None:
        """End the cluster, however far its start is, and all its processes; blocks for some seconds at most."""
        head, self._head = self._head, None
        if head is None:
            return
        atexit.unregister(self.end)
        processes = _session(head.pid)

        # its input ends: it shuts down by itself
        assert head.stdin is not None
        assert head.stdout is not None
        with suppress(OSError):
            head.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            head.wait(RAY_END_SECONDS if self._is_up else 0)

        # what is left
        for process in {*processes, *_session(head.pid)}:
            with suppress(psutil.Error):
                process.kill()
        head.wait()
        head.stdout.close()
        self._is_up = False

    def _wait_for_address(self) -> str:
        """Return the address that the head prints; StartFailedError if it ends or takes too long."""
        assert self._head is not None
        assert self._head.stdout is not None
        reported = self._began
        while True:
            ready, _, _ = select.select([self._head.stdout], [], [], START_POLL_SECONDS)
            line = self._head.stdout.readline() if ready else ""
            if line.startswith("address "):
                self._is_up = True
                return line.split()[1]
            if self._head.poll() is not None:  # its output may stay open: what it has started holds it too
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


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(psutil.Process, "cpu_affinity", None)
    return len(psutil.Process().cpu_affinity()) if affinity is not None else os.cpu_count() or 1


def _ensure_token() -> None:
    """Set a token for this process where Ray cannot write a new one to ~/.ray."""
    given = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    folder = Path.home() / ".ray"
    if given or (folder / "auth_token").is_file():
        return
    if not os.access(folder if folder.is_dir() else folder.parent, os.W_OK):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _session(leader: int) -> list[psutil.Process]:
    """Return the living processes of a session and all below its leader, also those whose parent has ended."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader:
                found.append(process)
    with suppress(psutil.Error):
        found += psutil.Process(leader).children(recursive=True)
    return found


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
