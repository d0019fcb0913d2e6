"""The verb `submit`: a suite as a Ray job.

The source tree goes to the cluster, the results come back.

Results return through the job's own log, framed and checksummed. No file system is shared, and no
port but the dashboard's is needed. On the cluster they also stay in ONECLOCK_HOME, so that a job
that was lost continues there.

What is sent: this source tree with its cards and the zoo, and the suite's file. What is not:
images, other weights, and methods from packages of one's own, which the cluster's Python needs
too. A card's folder, ONECLOCK_DATASETS, `weights`, `extractor_weights` and `reference.statistics` mean
paths on the cluster's head, where the job's driver runs. It reads the data there once and Ray
sends it to the workers. Cards in the folder of the suite's file are not sent: put them into
datasets/ of the source tree. The cluster's `python` must be the one whose environment runs Ray
there.
"""

from __future__ import annotations

import base64
import logging
import os
import secrets
import shlex
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from harness.cli import in_one_line
from harness.cli.dashboard import check_dashboard
from harness.cli.job import SUITE_VARIABLE
from harness.cli.job_log import follow_log, job_end
from harness.cli.transfer import FRAME, merge, unpack
from harness.config.suite import Suite, find_suite, load_suite, suite_names
from harness.errors import HarnessError, LockedError, StorageFullError, StoreDamagedError, UsageError
from harness.planning.baseline import as_list, as_part
from harness.pools.cluster import EXCLUDES
from harness.registry import registry
from harness.source_tree import ROOT, is_source_tree
from harness.specs.limits import JOB_POLL_SECONDS, JOB_READY_SECONDS
from methods.parts import PARTS


def submit_suite(
    suite: str, address: str, results: Path, settings: list[str], only: str | None, seeds: int | None
) -> int:
    """Run a suite on the cluster behind a dashboard.

    Return the job's exit code after its results are merged.

    Blocks until the job has ended; Ctrl-C leaves it running. Raises UsageError for an address that
    is no dashboard, HarnessError if the job was refused, contact was lost, or no results came
    back.
    """
    if not is_source_tree(ROOT):
        raise UsageError(
            f"this program is installed in {ROOT}, and `submit` sends the source tree to the cluster; run it from a "
            "clone of the repository, as `make submit` does"
        )
    loaded = load_suite(suite, settings, seeds)
    client = _connect(address)
    if note := describe_plugins(loaded):
        print(f"note: {note}", file=sys.stderr)

    # what the job runs, and what it gets
    variables = {"PYTHONUNBUFFERED": "1"}
    if suite not in suite_names():
        variables[SUITE_VARIABLE] = base64.b64encode(find_suite(suite).read_bytes()).decode()
    name_there = suite if suite in suite_names() else find_suite(suite).name
    words = ["python", "-m", "harness.cli.job", name_there, *_options(settings, only, seeds)]
    env = {"working_dir": str(ROOT), "excludes": EXCLUDES, "env_vars": variables}

    job = _submit_once(client, address, shlex.join(words), env)
    print(f"job {job} on {address}", file=sys.stderr)
    try:
        return _finish(client, job, results / loaded.name)
    except KeyboardInterrupt:
        print(f"job {job} goes on; to end it: ray job stop {job} --address {address}", file=sys.stderr)
        raise


def describe_plugins(suite: Suite) -> str:
    """Return which methods of a suite come from packages that are not sent, in a sentence; "" if none does."""
    chosen = {
        (part, as_part(item).name) for entry in suite.trials for part in PARTS for item in as_list(getattr(entry, part))
    }
    origins = {name: registry().method(part, name).__module__ for part, name in sorted(chosen)}
    own = {name: origin for name, origin in origins.items() if not origin.startswith("methods.")}
    if not own:
        return ""
    named = ", ".join(f"{name} (module {origin})" for name, origin in own.items())
    return f"{named}: not sent, as only this tree travels; the cluster's Python needs the same package installed"


def _submit_once(client: Any, address: str, entrypoint: str, env: dict[str, Any]) -> str:
    """Submit the job and return its id.

    A retry after a broken connection finds the first submission by the id.

    A busy cluster replies "try again later" or closes the connection; both are tried again.
    """
    until = time.monotonic() + JOB_READY_SECONDS
    job_id, disconnected = f"oneclock-{secrets.token_hex(8)}", False
    while True:
        try:
            return str(client.submit_job(entrypoint=entrypoint, runtime_env=env, submission_id=job_id))
        except Exception as error:
            if disconnected and f"{job_id} already exists" in str(error):
                return job_id  # it was accepted before the connection broke
            disconnected |= isinstance(error, OSError)
            if not (disconnected or "try again later" in str(error)) or time.monotonic() > until:
                raise HarnessError(f"{address} did not take the job: {in_one_line(error)}") from None
        time.sleep(JOB_POLL_SECONDS)


def _finish(client: Any, job: str, folder: Path) -> int:
    """Follow a job to its end, merge what it sends back, and return its exit code."""
    framed = []
    for line in follow_log(client, job):
        if line.startswith(FRAME):
            framed.append(line)
        else:
            print(line, file=sys.stderr)

    info = client.get_job_info(job)
    if framed:
        merge(unpack(framed), folder)
        print((folder / "leaderboard.md").read_text(encoding="utf-8"))

    if job_end(info.status) == "SUCCEEDED":
        return 0
    if info.driver_exit_code in (None, 0) or not framed:
        raise _error_class(info)(f"job {job} ended as {job_end(info.status)}: {in_one_line(info.message, 600)}")
    return int(info.driver_exit_code)


def _error_class(info: Any) -> type[HarnessError]:
    """Return the error class that has the job's exit code."""
    kinds = {kind.exit_code: kind for kind in (UsageError, LockedError, StoreDamagedError, StorageFullError)}
    return kinds.get(info.driver_exit_code, HarnessError)


def _connect(address: str) -> Any:
    """Return Ray's client of a dashboard.

    Raise UsageError with a remedy if there is none or it refuses.
    """
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray").setLevel(logging.ERROR)  # it lists every file that it does not upload

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


def _is_loopback(address: str) -> bool:
    return any(host in address for host in ("//127.", "//localhost", "//[::1]"))


def _options(settings: list[str], only: str | None, seeds: int | None) -> list[str]:
    words = [word for setting in settings for word in ("--set", setting)]
    words += ["--only", only] if only is not None else []
    return words + (["--seeds", str(seeds)] if seeds is not None else [])
