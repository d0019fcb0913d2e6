"""Follows a job on a cluster and brings its rows home: from the storage that it was given, else from its log.

A log can be rotated or cut under the job that writes it. So every line that carries results stands for itself, and what
is missing at the end is requested from the head by small jobs that print it again.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import api
from harness.cli import in_one_line
from harness.cli.job_log import follow_log, job_end
from harness.cli.job_pieces import write_ranges
from harness.cli.job_start import clean_environment, start_job
from harness.cli.transfer import FRAME, MOST_LOGGED, PIECE, PRINTED_AT_ONCE, Pieces, count_pieces, unpack
from harness.errors import HarnessError, LockedError, StorageFullError, StoreDamagedError, UsageError
from harness.storage.manifest import fetch_returned
from harness.storage.merging import merge_results
from harness.storage.remote import RemoteFolder

_ROW_CODES = (0, 1)
"""Exit codes of jobs that ran a plan: all rows VALID, or not."""
_FRUITLESS_REQUESTS = 2
"""Requests for one piece in a row that brought nothing, after which the log is given up."""
_SMALLER = 4
"""After a request that brought nothing the next one is for so much less."""
_DEBRIS = 1000
"""A line so long without a space is the rest of one that carried results."""


@dataclass(frozen=True)
class SentJob:
    """A job on a cluster, as this machine knows it."""

    client: Any
    """Ray's client of the dashboard."""
    address: str
    id: str
    suite: str
    """Name of the suite, and of its folder here."""
    storage: str | None = None


def follow_job(job: SentJob, results: Path) -> int:
    """Show a job's log until it ends, merge its rows into the local results, and return its exit code.

    Ctrl-C leaves the job running and says how to attach again. HarnessError if contact was lost, or no rows came.
    """
    print(f"job {job.id} on {job.address}", file=sys.stderr)
    try:
        return _finish(job, results / job.suite)
    except KeyboardInterrupt:
        print(
            f"job {job.id} goes on; to follow it again: oneclock attach {job.id} --address {job.address}; "
            f"to end it: ray job stop {job.id} --address {job.address}",
            file=sys.stderr,
        )
        raise


def _finish(job: SentJob, folder: Path) -> int:
    """Follow a job to its end, merge what it sends back, and return its exit code."""
    pieces = Pieces()
    for line in _lines_of(job, job.id, pieces):
        print(line, file=sys.stderr)

    info = job.client.get_job_info(job.id)
    arrived = _fetch_stored(job) if job.storage else None
    if arrived is None and (pieces.digest or info.driver_exit_code in _ROW_CODES):
        _request_missing(job, pieces)
        arrived = unpack(pieces.join()) if pieces.digest else None
    if arrived is not None:
        try:
            merge_results(arrived, folder)
        finally:
            shutil.rmtree(arrived)
        api.report(folder)
        print((folder / "leaderboard.md").read_text(encoding="utf-8"))
        print(f"the rows are here too: {folder.resolve() / 'report.html'}", file=sys.stderr)

    # how it ended
    end = job_end(info.status)
    if end == "SUCCEEDED" and arrived is not None:
        return 0
    if info.driver_exit_code in (None, 0) or arrived is None:
        raise _error_class(info)(f"job {job.id} ended as {end}{_why_none(arrived, end, info)}")
    return int(info.driver_exit_code)


def _why_none(arrived: Path | None, end: str | None, info: Any) -> str:
    if end == "SUCCEEDED" and arrived is None:
        return ", and no results of it came home; they are in the folder ONECLOCK_HOME of the cluster's head"
    return f": {in_one_line(info.message, 600)}"


def _lines_of(job: SentJob, job_id: str, pieces: Pieces) -> Iterator[str]:
    """Yield the lines of a job's log for people to read, and put those that carry results into `pieces`."""
    for line in follow_log(job.client, job_id):
        if FRAME in line:
            pieces.add(line[line.index(FRAME) :])
        elif len(line) < _DEBRIS or " " in line:
            yield line


def _fetch_stored(job: SentJob) -> Path | None:
    """Return a temporary folder with the rows that a job left in its storage; None where it left none there.

    Where this machine cannot read the storage the rows may still come through the log, so that is a note.
    """
    try:
        return fetch_returned(RemoteFolder(str(job.storage)), job.id)
    except UsageError as error:
        print(f"note: {error}; the rows come through the job's log", file=sys.stderr)
        return None


def _request_missing(job: SentJob, pieces: Pieces) -> None:
    """Request the pieces that did not arrive; fewer at a time where a request brings none.

    Each request is a job of seconds on the head, and blocks until it has ended. HarnessError where single pieces do
    not come either.
    """
    if not pieces.digest and not _request(job, pieces, ""):
        return
    portion = PRINTED_AT_ONCE // PIECE
    fruitless = 0
    while pieces.missing:
        if pieces.size is not None and pieces.size > MOST_LOGGED:
            raise _too_large(job, pieces.size)
        if fruitless >= _FRUITLESS_REQUESTS:
            raise _cut_logs(job, pieces)

        # the log of a request may be cut as well
        before = pieces.arrived
        wanted = pieces.missing[:portion]
        _request(job, pieces, write_ranges(wanted))
        if pieces.arrived == before:
            portion = max(1, len(wanted) // _SMALLER)
            fruitless += len(wanted) == 1
        else:
            fruitless = 0


def _request(job: SentJob, pieces: Pieces, ranges: str) -> bool:
    """Have the head print these pieces and the announcement, and tell whether the archive is known now."""
    words = ["python", "-m", "harness.cli.job_pieces", job.id, *([ranges] if ranges else [])]
    request = start_job(job.client, job.address, shlex.join(words), clean_environment(), {})
    for _ in _lines_of(job, request, pieces):
        pass
    return bool(pieces.digest)


def _too_large(job: SentJob, size: int) -> HarnessError:
    return HarnessError(
        f"the results of job {job.id} take {size} bytes, and a log carries {MOST_LOGGED} at most; "
        "submit again with --storage URI, which measures nothing twice"
    )


def _cut_logs(job: SentJob, pieces: Pieces) -> HarnessError:
    size = pieces.size or (pieces.arrived + len(pieces.missing)) * PIECE
    return HarnessError(
        f"{len(pieces.missing)} of {count_pieces(size)} pieces of the results of job {job.id} ({size} bytes) did not "
        f"come through its log, which the cluster cuts; attach again (oneclock attach {job.id} --address "
        f"{job.address}), or submit again with --storage URI, which measures nothing twice"
    )


def _error_class(info: Any) -> type[HarnessError]:
    """Return the error class that has the job's exit code."""
    kinds = {kind.exit_code: kind for kind in (UsageError, LockedError, StoreDamagedError, StorageFullError)}
    return kinds.get(info.driver_exit_code, HarnessError)
