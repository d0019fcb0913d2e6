"""Starts jobs on a Ray cluster through its dashboard: the connection, what is sent, and one submission for each job."""

from __future__ import annotations

import fnmatch
import logging
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness.cli import in_one_line
from harness.cli.dashboard import check_dashboard
from harness.errors import HarnessError, UsageError
from harness.pools.cluster import EXCLUDES
from harness.source_tree import ROOT, is_source_tree
from harness.specs.limits import GIT_SECONDS, JOB_POLL_SECONDS, JOB_READY_SECONDS

_LARGEST_NAMED = 5
_TOO_LARGE = ("status code 413", "Maximum request body size", "exceeds the maximum size")
"""How a dashboard, or Ray's client before it, says that a source tree is too large."""


def check_source_tree() -> None:
    """Raise UsageError where this program is installed and there is no tree to send."""
    if not is_source_tree(ROOT):
        raise UsageError(
            f"this program is installed in {ROOT}, and `submit` sends the source tree to the cluster; run it from a "
            "clone of the repository, as `make submit` does"
        )


def clean_environment(variables: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the runtime environment of a job: this source tree, and these variables."""
    env = {"PYTHONUNBUFFERED": "1", **(variables or {})}
    return {"working_dir": str(ROOT), "excludes": EXCLUDES, "env_vars": env}


def new_job_id() -> str:
    """Return an id that no other job has."""
    return f"oneclock-{secrets.token_hex(8)}"


def start_job(
    client: Any, address: str, entrypoint: str, env: dict[str, Any], metadata: dict[str, str], job_id: str | None = None
) -> str:
    """Submit a job and return its id.

    A retry after a broken connection finds the first submission by the id.

    A busy cluster replies "try again later" or closes the connection; both are tried again. HarnessError if it
    refuses, UsageError where the tree is too large.
    """
    until = time.monotonic() + JOB_READY_SECONDS
    job_id, disconnected = job_id or new_job_id(), False
    while True:
        try:
            return str(
                client.submit_job(entrypoint=entrypoint, runtime_env=env, submission_id=job_id, metadata=metadata)
            )

        # what is no refusal
        except Exception as error:
            if disconnected and f"{job_id} already exists" in str(error):
                return job_id  # it was accepted before the connection broke
            if any(words in str(error) for words in _TOO_LARGE):
                raise UsageError(_describe_size(address, error)) from None
            disconnected |= isinstance(error, OSError)
            if not (disconnected or "try again later" in str(error)) or time.monotonic() > until:
                raise HarnessError(f"{address} did not take the job: {in_one_line(error)}") from None
        time.sleep(JOB_POLL_SECONDS)


def connect_dashboard(address: str) -> Any:
    """Return Ray's client of a dashboard.

    Raise UsageError with a remedy if there is none or it refuses.
    """
    from ray.job_submission import JobSubmissionClient

    for name in ("ray", "ray.dashboard.modules.dashboard_sdk"):
        logging.getLogger(name).setLevel(logging.ERROR)  # it lists every file that it does not upload

    if not address.startswith(("http://", "https://")):
        raise UsageError(f'the cluster\'s address is "{address}"; expected its dashboard, like http://head:8265')
    if os.environ.get("RAY_AUTH_MODE") != "token" and not _is_loopback(address):
        print(
            "warning: no token authentication (RAY_AUTH_MODE=token): anyone who reaches it can run code",
            file=sys.stderr,
        )

    check_dashboard(address)
    try:
        return JobSubmissionClient(address)
    except Exception as error:
        reason = in_one_line(error)
        if "token" in reason.lower() or "401" in reason or "403" in reason:
            raise UsageError(
                f"{address} refuses us; expected RAY_AUTH_MODE=token and its token in RAY_AUTH_TOKEN ({reason})"
            ) from None
        raise UsageError(
            f"no Ray dashboard answers at {address}; start one with `ray start --head` ({reason})"
        ) from None


def list_sent_files(root: Path) -> list[tuple[int, str]]:
    """Return the files of a tree that are sent to a cluster, the largest first, with their bytes."""
    listed = _tracked_or_new(root)
    names = [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()] if listed is None else listed
    sent = [name for name in names if not _is_excluded(name) and (root / name).is_file()]
    return sorted(((root / name).stat().st_size, name) for name in sent)[::-1]


def _tracked_or_new(root: Path) -> list[str] | None:
    """Return the files that git does not ignore, as Ray leaves out those of .gitignore; None without git."""
    words = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return [name for name in done.stdout.split("\0") if name]


def _is_excluded(name: str) -> bool:
    parts = name.split("/")
    return any(fnmatch.fnmatch(part, pattern.removeprefix("**/")) for pattern in EXCLUDES for part in parts)


def _describe_size(address: str, error: Exception) -> str:
    files = list_sent_files(ROOT)
    largest = ", ".join(f"{name} ({size / 1e6:.1f} MB)" for size, name in files[:_LARGEST_NAMED])
    return (
        f"{address} does not take a source tree so large ({in_one_line(error, 120)}): {len(files)} files, "
        f"{sum(size for size, _ in files) / 1e6:.0f} MB before compression, the largest are {largest}; move what the "
        "job does not need out of the tree, or name it in .gitignore"
    )


def _is_loopback(address: str) -> bool:
    return any(host in address for host in ("//127.", "//localhost", "//[::1]"))
