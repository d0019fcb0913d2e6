"""The process that reads pickles: what it gave up stays given up, even for code that would run there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SEALED = """
import os, resource, socket, subprocess, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from harness.importers.sealed_process import limit_process, watch_events
limit_process(1000, 5)
watch_events(Path.cwd())
Path("inside").write_text("allowed")
try:
    {attempt}
except (PermissionError, MemoryError, OSError) as error:
    print(type(error).__name__, error)
else:
    print("done")
"""
ATTEMPTS = {
    "write": "open({place!r}, 'w')",
    "append through os": "os.open({place!r}, os.O_WRONLY | os.O_CREAT)",
    "up": "open('../trace', 'w')",
    "mkdir": "os.mkdir({place!r})",
    "rename": "os.rename('inside', {place!r})",
    "link": "os.symlink('inside', {place!r})",
    "read": "open('/etc/passwd').read()",
    "socket": "socket.socket()",
    "name of a host": "socket.getaddrinfo('localhost', 80)",
    "program": "subprocess.run(['touch', {place!r}])",
    "shell": "os.system('touch ' + {place!r})",
    "fork": "os.fork()",
    "exec": "os.execv('/bin/touch', ['touch', {place!r}])",
    "memory": "bytearray(1 << 34)",
}


def attempt(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a process that gave up its rights, in a folder of its own."""
    (folder / "out").mkdir()
    program = SEALED.format(root=str(ROOT), attempt=text.format(place=str(folder / "trace")))
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, cwd=folder / "out", env={}, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("way", ATTEMPTS)
def test_rights_that_reading_does_not_need_are_gone(tmp_path: Path, way: str) -> None:
    done = attempt(tmp_path, ATTEMPTS[way])
    wanted = "MemoryError" if way == "memory" else "PermissionError"
    assert done.stdout.startswith(wanted), done.stdout + done.stderr
    assert not (tmp_path / "trace").exists()
    assert (tmp_path / "out" / "inside").read_text() == "allowed"


def test_an_attempt_that_is_allowed_is_seen(tmp_path: Path) -> None:
    assert attempt(tmp_path, "open('trace', 'w').close()").stdout == "done\n"


def test_a_loop_without_end_is_ended_by_the_processor_limit(tmp_path: Path) -> None:
    text = "resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\n    while True: pass"
    assert attempt(tmp_path, text).returncode < 0
