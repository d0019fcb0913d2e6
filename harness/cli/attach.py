"""The verb `attach`: follows a job that was submitted before, and brings its rows home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.cli import in_one_line
from harness.cli.job_log import job_end
from harness.cli.job_results import SentJob, follow_job
from harness.cli.job_start import check_source_tree, connect_dashboard
from harness.errors import UsageError
from harness.identity import check_name

_LISTED = 8


def attach_job(job_id: str | None, address: str, results: Path) -> int:
    """Follow a job of `submit` from any machine, also one that has ended, and return its exit code.

    Blocks until the job has ended. UsageError for a job that the cluster does not know, which names those that it
    does; without an id too. HarnessError as `follow_job`.
    """
    check_source_tree()
    client = connect_dashboard(address)
    known = _list_jobs(client, address)
    found = [one for one in known if one.submission_id == job_id]
    if not found:
        what = "no job is named" if job_id is None else f'{address} knows no job "{job_id}"'
        raise UsageError(f"{what}; {_describe(known)}")

    # what `submit` has noted with it
    notes = found[0].metadata
    suite = check_name(notes["suite"], "the job's suite")
    return follow_job(SentJob(client, address, str(job_id), suite, notes.get("storage")), results)


def _list_jobs(client: Any, address: str) -> list[Any]:
    """Return the jobs that `submit` has started on a cluster, the newest first."""
    try:
        jobs = client.list_jobs()
    except Exception as error:
        raise UsageError(f"{address} does not list its jobs ({in_one_line(error)})") from None
    own = [one for one in jobs if one.submission_id and "suite" in (one.metadata or {})]
    return sorted(own, key=lambda one: -(one.start_time or 0))


def _describe(jobs: list[Any]) -> str:
    if not jobs:
        return "the cluster has no job of `oneclock submit`"
    words = [f"{one.submission_id} ({one.metadata['suite']}, {job_end(one.status) or 'running'})" for one in jobs]
    more = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return f"expected one of {', '.join(words[:_LISTED])}{more}"
