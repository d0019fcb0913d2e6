"""What jobs on a cluster's head keep for those who submitted them: the archive of each job's results."""

from __future__ import annotations

import os
from pathlib import Path

from harness.identity import check_name
from harness.storage.disk import make_own_folder, read_regular, replace

_KEPT = 10
"""So many archives are kept, the newest; all results also stay in the folder `results`."""


def job_home() -> Path:
    """Return the folder in which jobs keep results: ONECLOCK_HOME, by default ~/.oneclock."""
    return Path(os.environ.get("ONECLOCK_HOME", Path.home() / ".oneclock"))


def keep_archive(job: str, data: bytes) -> None:
    """Keep the archive of a job, and remove the oldest ones beyond ten."""
    path = _place(job)
    make_own_folder(path.parent)
    replace(path, data)
    newest_last = sorted(path.parent.glob("*.tar.xz"), key=lambda one: one.stat().st_mtime_ns)
    for old in newest_last[:-_KEPT]:
        old.unlink(missing_ok=True)


def read_archive(job: str) -> bytes | None:
    """Return the archive of a job, None where there is none."""
    try:
        return read_regular(_place(job))
    except FileNotFoundError:
        return None


def _place(job: str) -> Path:
    return job_home() / "outbox" / f"{check_name(job, 'the job')}.tar.xz"
