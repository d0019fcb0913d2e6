"""What runs in the process that reads a foreign pickle: it gives up its rights, reads, and writes tensors.

Nothing of the pickle is executed in any case; this is a second wall, should a flaw in a library be used.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

TENSORS_FILE, REPORT_FILE = "tensors.safetensors", "found.json"
_NEW_USERS, _NEW_NETWORK = 0x10000000, 0x40000000
"""Linux's flags of unshare, from sched.h."""
_MEMORY_PER_BYTE, _MEMORY_BESIDE = 6, 1 << 30
"""Address space for each byte of the file, and beside that, on top of what the libraries take."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DENIED = (
    "socket.", "subprocess.", "shutil.", "ctypes.", "urllib.", "ftplib.", "smtplib.", "webbrowser.", "pty.", "mmap.",
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile", "os.kill",
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate",
    "os.putenv", "os.chdir", "os.utime", "os.setxattr",
)  # fmt: skip
"""Beginnings of the names of Python's audit events that reading tensors never raises."""


def main() -> None:
    """Read the pickle on standard input into the present folder, with a second to run per argument."""
    cut_off_network()
    import safetensors.torch
    import torch

    from harness.importers.inert_pickle import read_inert

    # rights end here
    torch.set_num_threads(1)
    limit_process(os.fstat(0).st_size, int(sys.argv[-1]))
    watch_events(Path.cwd())
    report: dict[str, Any]
    try:
        found = read_inert(sys.stdin.buffer)
        tensors = {name: value.detach().clone().contiguous() for name, value in found.tensors.items()}
        safetensors.torch.save_file(tensors, TENSORS_FILE)
        report = {"layers": found.layers, "classes": found.classes, "arguments": found.arguments}
        report["sources"] = sorted(found.sources)
    except Exception as error:  # whatever a foreign file brings about ends here
        report = {"refusal": " ".join(f"{error}".split())[:300] or type(error).__name__}
    Path(REPORT_FILE).write_text(json.dumps(report), encoding="utf-8")


def cut_off_network() -> None:
    """Move the process into a network of its own, which has no devices, where the system lets it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).unshare(_NEW_USERS | _NEW_NETWORK)


def limit_process(file_bytes: int, seconds: int) -> None:
    """Bound processor time, new processes, and on Linux the address space and what is written."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    taken = Path("/proc/self/statm")
    if not taken.exists():
        return

    room = _MEMORY_PER_BYTE * file_bytes + _MEMORY_BESIDE
    pages = int(taken.read_text(encoding="ascii").split()[0])
    memory = pages * resource.getpagesize() + room
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, room)):
        resource.setrlimit(kind, (most, most))


def watch_events(output: Path) -> None:
    """Refuse from now on what reading tensors never does: processes, sockets, files elsewhere. It cannot be undone."""
    readable = [Path(sys.prefix), Path(sys.base_prefix), *(Path(folder) for folder in sys.path if folder)]

    def refuse(event: str, details: tuple[Any, ...]) -> None:
        if event.startswith(_DENIED):
            raise PermissionError(f"{event} is not allowed while a pickle is read")
        if event != "open" or isinstance(details[0], int):
            return
        path = Path(os.fsdecode(details[0])).absolute()
        writes = bool((details[2] or 0) & _WRITING)
        if path.parent != output and (writes or not any(path.is_relative_to(folder) for folder in readable)):
            raise PermissionError(f"{path} may not be opened while a pickle is read")

    sys.addaudithook(refuse)
