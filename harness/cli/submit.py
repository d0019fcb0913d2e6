"""A suite as a Ray job: the source tree travels to the cluster, the log is followed, the results come back.

Results return through the job's own log, framed and checksummed, so that no file system need be shared and no port but
the dashboard's be open. On the cluster they also stay in ONECLOCK_HOME (default ~/.oneclock), so that a job that was
lost goes on where it was.

What travels: this source tree with its cards and the zoo, and the suite's file. What does not: images, other weights.
A card's folder, ONECLOCK_DATASETS, `weights` and `extractor_weights` mean paths on the cluster's head, where the
job's driver runs; it reads the data there once and Ray carries it to the workers. Cards beside the suite's file do
not travel: put them into datasets/ of the source tree. The cluster's `python` must be the one whose environment runs
Ray there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import logging
import lzma
import os
import secrets
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
from harness.config.suite import suite_names
from harness.errors import HarnessError, LockedError, StorageFullError, StoreDamagedError, UsageError
from harness.pools.cluster import EXCLUDES
from harness.schema import TABLES
from harness.specs.limits import JOB_POLL_SECONDS, JOB_READY_SECONDS, MOST_FAILED_JOB_POLLS
from harness.storage.lock import RunLock
from harness.storage.planned import PLANNED, read_planned, write_planned
from harness.storage.store import Store

FRAME = "ONECLOCK-RESULTS"
_LINE = 8000  # characters of a framed line
_RETURNED = (*TABLES, "log", "samples")
_SUITE = "ONECLOCK_SUITE"  # the text of a suite that is a file, for the job


def submit_suite(
    suite: str, address: str, results: Path, settings: list[str], only: str | None, seeds: int | None
) -> int:
    """Run a suite on the cluster behind a dashboard; return the job's exit code after its results are merged."""
    name = api.load_suite(suite, settings, seeds).name
    client = _client(address)
    variables = {"PYTHONUNBUFFERED": "1"}
    if suite not in suite_names():
        variables[_SUITE] = base64.b64encode(Path(suite).read_bytes()).decode()
    words = ["python", "-m", "harness.cli.submit", Path(suite).name, *_options(settings, only, seeds)]
    root = Path(__file__).resolve().parents[2]
    env = {"working_dir": str(root), "excludes": EXCLUDES, "env_vars": variables}
    job = _submitted(client, address, shlex.join(words), env)
    print(f"job {job} on {address}", file=sys.stderr)
    try:
        return _finish(client, job, results / name)
    except KeyboardInterrupt:
        print(f"job {job} goes on; to end it: ray job stop {job} --address {address}", file=sys.stderr)
        raise


def _submitted(client: Any, address: str, entrypoint: str, env: dict[str, Any]) -> str:
    """Hand the job in once, however often it is said: a busy cluster says "try again later", or hangs up."""
    until = time.monotonic() + JOB_READY_SECONDS
    name, hung_up = f"oneclock-{secrets.token_hex(8)}", False
    while True:
        try:
            return str(client.submit_job(entrypoint=entrypoint, runtime_env=env, submission_id=name))
        except Exception as error:
            if hung_up and f"{name} already exists" in str(error):
                return name  # it was taken before the line broke
            hung_up |= isinstance(error, OSError)
            if not (hung_up or "try again later" in str(error)) or time.monotonic() > until:
                raise HarnessError(f"{address} did not take the job: {_one_line(error)}") from None
        time.sleep(JOB_POLL_SECONDS)


def _finish(client: Any, job: str, folder: Path) -> int:
    """Follow a job to its end, merge what it sends back, and return its exit code."""
    framed = list(_follow(client, job))
    info = client.get_job_info(job)
    if framed:
        merge(unpack(framed), folder)
        print((folder / "leaderboard.md").read_text(encoding="utf-8"))
    if _ended(info.status) == "SUCCEEDED":
        return 0
    if info.driver_exit_code in (None, 0) or not framed:
        raise _ending(info)(f"job {job} ended as {_ended(info.status)}: {_one_line(info.message, 600)}")
    return int(info.driver_exit_code)


def _ending(info: Any) -> type[HarnessError]:
    """Return the error whose exit code is the job's own."""
    kinds = {kind.exit_code: kind for kind in (UsageError, LockedError, StoreDamagedError, StorageFullError)}
    return kinds.get(info.driver_exit_code, HarnessError)


def _ended(status: Any) -> str | None:
    """Return how a job ended, or None while it has not."""
    word = str(status).rpartition(".")[2]
    return word if word in ("SUCCEEDED", "FAILED", "STOPPED") else None


def _one_line(error: Any, most: int = 300) -> str:
    return " ".join(str(error).split())[:most]


def _client(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    logging.getLogger("ray").setLevel(logging.ERROR)  # it lists every file that it does not upload
    if not address.startswith(("http://", "https://")):
        raise UsageError(f'the cluster\'s address is "{address}"; expected its dashboard, like http://head:8265')
    if os.environ.get("RAY_AUTH_MODE") != "token" and not _is_loopback(address):
        print("warning: no token authentication (RAY_AUTH_MODE=token): whoever reaches it runs code", file=sys.stderr)
    try:
        return JobSubmissionClient(address)
    except Exception as error:
        reason = _one_line(error)
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


def _follow(client: Any, job: str) -> Iterator[str]:
    """Print the job's log as it grows; yield the framed lines instead of printing them."""
    seen = missed = 0
    while True:
        try:
            ended = _ended(client.get_job_status(job)) is not None
            text = client.get_job_logs(job)
            missed = 0
        except Exception as error:
            missed += 1
            if missed >= MOST_FAILED_JOB_POLLS:
                raise HarnessError(
                    f"lost contact with job {job} ({_one_line(error)}); what it has done stays on the cluster, "
                    "submit again to go on"
                ) from None
            time.sleep(JOB_POLL_SECONDS)
            continue
        upto = len(text) if ended else text.rfind("\n") + 1
        for line in text[seen:upto].splitlines():
            if line.startswith(FRAME):
                yield line
            else:
                print(line, file=sys.stderr)
        seen = max(seen, upto)
        if ended:
            return
        time.sleep(JOB_POLL_SECONDS)


def pack(folder: Path) -> Iterator[str]:
    """Yield the tables, log and samples of a results folder as framed lines, the checksum first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name in _RETURNED:
            if (folder / name).is_dir():
                archive.add(folder / name, arcname=name)
        for name in ("store.json", PLANNED):
            if (folder / name).is_file():
                archive.add(folder / name, arcname=name)
    data = buffer.getvalue()
    text = base64.b64encode(data).decode()
    yield f"{FRAME} sha256 {hashlib.sha256(data).hexdigest()}"
    yield from (f"{FRAME} data {text[i : i + _LINE]}" for i in range(0, len(text), _LINE))


def unpack(framed: list[str]) -> Path:
    """Return a temporary folder with what `pack` framed; raise HarnessError if a line was lost or changed."""
    data = _joined(framed)
    folder = Path(tempfile.mkdtemp(prefix="oneclock-"))
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:xz") as archive:
            for member in archive.getmembers():
                if not (member.isfile() or member.isdir()):
                    raise HarnessError(f'the arrived results hold "{member.name}", which is no file and no folder')
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        shutil.rmtree(folder)
        raise HarnessError(f"the arrived results cannot be unpacked: {_one_line(error)}") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def _joined(framed: list[str]) -> bytes:
    """Return the bytes that framed lines carry; raise HarnessError unless the checksum is theirs."""
    words = [line.split(" ") for line in framed]
    told = [w[2] for w in words if len(w) == 3 and w[1] == "sha256"]
    try:
        data = base64.b64decode("".join(w[2] for w in words if len(w) == 3 and w[1] == "data"), validate=True)
    except binascii.Error:
        data = b""
    if told != [hashlib.sha256(data).hexdigest()]:
        raise HarnessError("the results arrived damaged (checksum differs); they stay whole there, submit again")
    return data


def merge(arrived: Path, folder: Path) -> None:
    """Commit every trial of an arrived folder that the local one lacks, copy its pictures, rebuild the report."""
    try:
        store = Store.create_or_open(folder)
        with RunLock(store.folder):
            _commit_missing(api.load(arrived), store)
            planned = read_planned(arrived)
            if planned is not None:
                write_planned(store.folder, planned)
            for picture in sorted((arrived / "samples").glob("*.png")):
                if not (folder / "samples" / picture.name).exists():
                    (folder / "samples").mkdir(exist_ok=True)
                    shutil.copyfile(picture, folder / "samples" / picture.name)
    finally:
        shutil.rmtree(arrived)
    api.report(folder)


def _commit_missing(tables: api.Tables, store: Store) -> None:
    import pandas as pd

    present = store.snapshot().finished()
    accepted = pd.concat([tables.trials, tables.others], ignore_index=True)
    frames = {**{name: getattr(tables, name) for name in TABLES}, "trials": accepted}
    for trial_id, attempt in zip(accepted["trial_id"], accepted["attempt"], strict=True):
        if trial_id in present:
            continue
        rows = {
            name: _rows(frame[(frame["trial_id"] == trial_id) & (frame["attempt"] == attempt)])
            for name, frame in frames.items()
        }
        store.commit(trial_id, rows)


def _rows(frame: Any) -> list[dict[str, Any]]:
    """Return a frame's rows as plain dictionaries, missing values as None, without the columns that `commit` fills."""
    import pandas as pd

    plain = frame.drop(columns=["trial_id", "attempt"]).astype(object)
    return plain.where(pd.notna(plain), None).to_dict("records")


def main(words: list[str]) -> int:
    """Run on the cluster, as the job: the suite with its options, then the results as framed lines."""
    from harness.cli.app import app

    home = Path(os.environ.get("ONECLOCK_HOME", Path.home() / ".oneclock")) / "results"
    with tempfile.TemporaryDirectory() as folder:
        if _SUITE in os.environ:
            path = Path(folder) / words[0]
            path.write_bytes(base64.b64decode(os.environ.pop(_SUITE)))
            words = [str(path), *words[1:]]
        kept = None
        try:
            settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            kept = home / api.load_suite(words[0], settings).name
            code = app(["run", *words, "--results", str(home)], standalone_mode=False) or 0
        except HarnessError as error:
            print(f"oneclock: {error}", file=sys.stderr)
            code = error.exit_code
    return _send(kept, int(code))


def _send(folder: Path | None, code: int) -> int:
    """Print the results, if there are any, as framed lines; return the exit code."""
    if folder is not None and (folder / "log").is_dir():
        for line in pack(folder):
            print(line)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
