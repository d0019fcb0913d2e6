"""The verb `submit`: a suite as a Ray job.

The source tree goes to the cluster, the results come back.

With `--storage` the job copies tables, artifacts and checkpoints there while it runs, goes on from what is there
already, and the rows of its plan are fetched from there. Without it they return through the job's own log, framed and
checksummed: no file system is shared, and no port but the dashboard's is needed. On the cluster they also stay in
ONECLOCK_HOME, so that a job that was lost continues there.

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
import os
import shlex
import sys
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from harness.cli.job import JOB_VARIABLE, STORAGE_VARIABLE, SUITE_VARIABLE
from harness.cli.job_results import SentJob, follow_job
from harness.cli.job_start import check_source_tree, clean_environment, connect_dashboard, new_job_id, start_job
from harness.config.suite import Suite, find_suite, load_suite, suite_names
from harness.planning.baseline import as_list, as_part
from harness.pools.device_choice import ALL_DEVICES, DeviceChoice
from harness.registry import registry
from harness.rows.provenance import COMMIT_VARIABLE, describe_commit
from harness.storage.remote import check_uri
from methods.parts import PARTS


def submit_suite(
    suite: str,
    address: str,
    results: Path,
    settings: list[str],
    only: str | None,
    seeds: int | None,
    storage: str | None = None,
    choice: DeviceChoice = ALL_DEVICES,
) -> int:
    """Run a suite on the cluster behind a dashboard.

    Return the job's exit code after its results are merged.

    Blocks until the job has ended; Ctrl-C leaves it running. Raises UsageError for an address that
    is no dashboard, a tree that is too large and a storage that is none, HarnessError if the job was refused, contact
    was lost, or no results came back.
    """
    check_source_tree()
    if storage is not None:
        check_uri(storage)
    loaded = load_suite(suite, settings, seeds)
    client = connect_dashboard(address)
    if note := describe_plugins(loaded):
        print(f"note: {note}", file=sys.stderr)

    # what the job runs
    job_id = new_job_id()
    variables = {JOB_VARIABLE: job_id, COMMIT_VARIABLE: describe_commit()}
    if suite not in suite_names():
        variables[SUITE_VARIABLE] = base64.b64encode(find_suite(suite).read_bytes()).decode()
    name_there = suite if suite in suite_names() else find_suite(suite).name
    words = ["python", "-m", "harness.cli.job", name_there, *_options(settings, only, seeds), *choice.words()]

    # what is noted with it, for those who attach
    notes = {"suite": loaded.name}
    if storage is not None:
        variables[STORAGE_VARIABLE] = notes["storage"] = storage
    start_job(client, address, shlex.join(words), clean_environment(variables), notes, job_id)
    return follow_job(SentJob(client, address, job_id, loaded.name, storage), results)


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


def _options(settings: list[str], only: str | None, seeds: int | None) -> list[str]:
    words = [word for setting in settings for word in ("--set", setting)]
    words += ["--only", only] if only is not None else []
    return words + (["--seeds", str(seeds)] if seeds is not None else [])
