"""A suite as a Ray job: the source tree travels to the cluster, the log is followed, the results come back.

Results return through the job's own log, framed and checksummed, so that no file system need be shared and no port but
the dashboard's be open. On the cluster they also stay in ONECLOCK_HOME (default ~/.oneclock), so that a job that was
lost goes on where it was.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import shlex
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from harness import api
from harness.errors import HarnessError, UsageError
from harness.pools.ray import EXCLUDES
from harness.schema import TABLES
from harness.storage.lock import RunLock
from harness.storage.store import Store

FRAME = "ONECLOCK-RESULTS"
_LINE = 8000  # characters of a framed line
_RETURNED = (*TABLES, "log", "samples")
_POLL_SECONDS = 1.0


def submit_suite(
    suite: str, address: str, results: Path, settings: list[str], only: str | None, seeds: int | None
) -> int:
    """Run a suite on the cluster behind a dashboard; return the job's exit code after its results are merged."""
    name = api.load_suite(suite, settings, seeds).name
    client = _client(address)
    words = ["python", "-m", "harness.submit", suite, *_options(settings, only, seeds)]
    root = Path(__file__).resolve().parents[1]
    env = {"working_dir": str(root), "excludes": EXCLUDES, "env_vars": {"PYTHONUNBUFFERED": "1"}}
    job = client.submit_job(entrypoint=shlex.join(words), runtime_env=env)
    print(f"job {job} on {address}", file=sys.stderr)
    framed = list(_follow(client, job))
    status = str(client.get_job_status(job))
    if framed:
        merge(unpack(framed), results / name)
        print((results / name / "leaderboard.md").read_text(encoding="utf-8"))
    if status.endswith("SUCCEEDED"):
        return 0
    info = client.get_job_info(job)
    if not framed:
        raise HarnessError(f"job {job} ended as {status} without results: {' '.join(str(info.message).split())[:300]}")
    return int(info.driver_exit_code or 1)


def _client(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    if not address.startswith(("http://", "https://")):
        raise UsageError(f'the cluster\'s address is "{address}"; expected its dashboard, like http://head:8265')
    if os.environ.get("RAY_AUTH_MODE") != "token" and not _is_loopback(address):
        print("warning: no token authentication (RAY_AUTH_MODE=token): whoever reaches it runs code", file=sys.stderr)
    try:
        return JobSubmissionClient(address)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"no Ray dashboard answers at {address} ({reason}); start one with `ray start --head`"
        ) from None


def _is_loopback(address: str) -> bool:
    return any(host in address for host in ("//127.", "//localhost", "//[::1]"))


def _options(settings: list[str], only: str | None, seeds: int | None) -> list[str]:
    words = [word for setting in settings for word in ("--set", setting)]
    words += ["--only", only] if only is not None else []
    return words + (["--seeds", str(seeds)] if seeds is not None else [])


def _follow(client: Any, job: str) -> Iterator[str]:
    """Print the job's log as it grows; yield the framed lines instead of printing them."""
    seen = 0
    while True:
        ended = str(client.get_job_status(job)).rpartition(".")[2] in ("SUCCEEDED", "FAILED", "STOPPED")
        text = client.get_job_logs(job)
        upto = len(text) if ended else text.rfind("\n") + 1
        for line in text[seen:upto].splitlines():
            if line.startswith(FRAME):
                yield line
            else:
                print(line, file=sys.stderr)
        seen = max(seen, upto)
        if ended:
            return
        time.sleep(_POLL_SECONDS)


def pack(folder: Path) -> Iterator[str]:
    """Yield the tables, log and samples of a results folder as framed lines, the checksum first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name in _RETURNED:
            if (folder / name).is_dir():
                archive.add(folder / name, arcname=name)
        archive.add(folder / "store.json", arcname="store.json") if (folder / "store.json").is_file() else None
    data = buffer.getvalue()
    text = base64.b64encode(data).decode()
    yield f"{FRAME} sha256 {hashlib.sha256(data).hexdigest()}"
    yield from (f"{FRAME} data {text[i : i + _LINE]}" for i in range(0, len(text), _LINE))


def unpack(framed: list[str]) -> Path:
    """Return a temporary folder with what `pack` framed; raise HarnessError if a line was lost or changed."""
    words = [line.split(" ") for line in framed]
    data = base64.b64decode("".join(w[2] for w in words if w[1] == "data"))
    told = next(w[2] for w in words if w[1] == "sha256")
    if hashlib.sha256(data).hexdigest() != told:
        raise HarnessError(
            "the results arrived damaged (checksum differs); they are whole on the cluster, submit again"
        )
    folder = Path(tempfile.mkdtemp(prefix="oneclock-"))
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def merge(arrived: Path, folder: Path) -> None:
    """Commit every trial of an arrived folder that the local one lacks, copy its pictures, rebuild the report."""
    store = Store.create_or_open(folder)
    tables = api.load(arrived)
    frames = {"trials": tables.trials, "steps": tables.steps, "timings": tables.timings, "quality": tables.quality}
    with RunLock(store.folder):
        present = store.finished()
        for trial_id, attempt in zip(tables.trials["trial_id"], tables.trials["attempt"], strict=True):
            if trial_id in present:
                continue
            rows = {
                name: _rows(frame[(frame["trial_id"] == trial_id) & (frame["attempt"] == attempt)])
                for name, frame in frames.items()
            }
            store.commit(trial_id, rows)
        if (arrived / "samples").is_dir():
            shutil.copytree(arrived / "samples", folder / "samples", dirs_exist_ok=True)
    shutil.rmtree(arrived)
    api.report(folder)


def _rows(frame: Any) -> list[dict[str, Any]]:
    """Return a frame's rows as plain dictionaries, missing values as None, without the columns that `commit` fills."""
    import pandas as pd

    plain = frame.drop(columns=["trial_id", "attempt"]).astype(object)
    return plain.where(pd.notna(plain), None).to_dict("records")


def main(words: list[str]) -> int:
    """Run on the cluster, as the job: the suite with its options, then the results as framed lines."""
    from harness.cli.app import app

    home = Path(os.environ.get("ONECLOCK_HOME", Path.home() / ".oneclock")) / "results"
    try:
        code = app(["run", *words, "--results", str(home)], standalone_mode=False) or 0
    except HarnessError as error:
        print(f"oneclock: {error}", file=sys.stderr)
        code = error.exit_code
    options = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    folder = home / api.load_suite(words[0], options).name
    if (folder / "log").is_dir():
        for line in pack(folder):
            print(line)
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
