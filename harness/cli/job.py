"""`python -m harness.cli.job`: what `submit` starts on the cluster's head.

Runs a suite and sends the rows of its plan home: to the storage that was named, else as lines of the job's log.

Results also stay on the head in ONECLOCK_HOME (default ~/.oneclock), so that a later job continues
a lost one.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.cli.outbox import job_home, keep_archive
from harness.cli.transfer import PRINTED_AT_ONCE, head_line, pack, piece_lines
from harness.config.suite import load_suite
from harness.errors import HarnessError, LockedError
from harness.storage.manifest import write_manifest
from harness.storage.mirror import Mirror
from harness.storage.planned import PLANNED
from harness.storage.remote import RemoteFolder
from harness.storage.returned_files import list_returned

SUITE_VARIABLE = "ONECLOCK_SUITE"
"""Environment variable: the text of a suite's file in base64, unset for a shipped suite."""
JOB_VARIABLE = "ONECLOCK_JOB"
"""Environment variable: the job's own id."""
STORAGE_VARIABLE = "ONECLOCK_STORAGE"
"""Environment variable: the URI of the storage, unset where results go home through the log."""


def main(words: list[str]) -> int:
    """Run the suite of the command line, send its rows home, and return the exit code."""
    from harness.cli.app import app

    results, storage = job_home() / "results", os.environ.get(STORAGE_VARIABLE)
    remote = None
    with tempfile.TemporaryDirectory() as folder:
        # a suite that is a file travels as text
        if SUITE_VARIABLE in os.environ:
            path = Path(folder) / words[0]
            path.write_bytes(base64.b64decode(os.environ.pop(SUITE_VARIABLE)))
            words = [str(path), *words[1:]]

        kept, before = None, None
        try:
            settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            remote = RemoteFolder(storage) if storage else None
            kept = results / load_suite(words[0], settings).name
            before = _plan_state(kept)
            with _copied_to(remote, kept):
                code = app(["run", *words, "--results", str(results)], standalone_mode=False) or 0
        except HarnessError as error:
            code = _say(error)

    # without a plan of its own, the rows there are not this job's
    if kept is None or _plan_state(kept) == before or code == LockedError.exit_code:
        return int(code)
    try:
        _send(kept, remote)
    except HarnessError as error:
        return _say(error)
    return int(code)


def _say(error: HarnessError) -> int:
    print(f"oneclock: {error}", file=sys.stderr)
    return error.exit_code


def _plan_state(folder: Path) -> tuple[int, int] | None:
    """Return what changes whenever a plan is written to a folder."""
    try:
        found = (folder / PLANNED).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextmanager
def _copied_to(remote: RemoteFolder | None, folder: Path) -> Iterator[None]:
    """Go on from what a storage has, and copy to it what a run adds."""
    if remote is None:
        yield
        return
    mirror = Mirror(remote, folder.parent, folder.name)
    if came := mirror.restore():
        print(f"{came} attempts came from {remote.uri}", file=sys.stderr)
    with mirror.running():
        yield


def _send(folder: Path, remote: RemoteFolder | None) -> None:
    """Send the rows of the latest plan home. They also stay in the outbox, to be requested."""
    job, files = os.environ.get(JOB_VARIABLE, "local"), list_returned(folder)
    data = pack(folder, files)
    keep_archive(job, data)
    if remote is not None:
        write_manifest(remote, job, folder.name, files)
        return
    if len(data) <= PRINTED_AT_ONCE:
        for line in piece_lines(data):
            print(line)
    print(head_line(data), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
