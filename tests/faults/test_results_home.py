"""Results come home from a real head: through a rotated log, after an interruption, from a server that speaks S3."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit.faulty import rows
from kit.job_suites import gaussian_suite
from kit.ray_head import ROOT, command_line, ray_head
from kit.s3_server import CREDENTIALS, find_server, s3_server

from harness.cli.transfer import FRAME
from harness.storage.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(800)]

SUITE = gaussian_suite("homeward", "rows that come home", 'solver = ["ddim", "heun"]\nsteps = [2, 3]')
SMALL = 20_000
"""Bytes of a log at which it is rotated: three lines of results."""


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "homeward.toml"
    path.write_text(SUITE)
    return str(path)


@contextmanager
def rotated(logs: Path) -> Iterator[list[int]]:
    """Empty the log of every job as it grows beyond SMALL, as logrotate's copytruncate does; yield the lengths taken.

    Ray itself rotates its own logs, with RAY_ROTATION_MAX_BYTES, and in 2.60 not those of jobs.
    """
    done, taken = threading.Event(), list[int]()

    def rotate() -> None:
        while not done.wait(0.02):
            for log in logs.glob("job-driver-*.log"):
                if (size := log.stat().st_size) > SMALL:
                    taken.append(size)
                    os.truncate(log, 0)

    thread = threading.Thread(target=rotate)
    thread.start()
    try:
        yield taken
    finally:
        done.set()
        thread.join()


def verdicts(folder: Path) -> list[str]:
    return [row["verdict"] for row in rows(Store(folder / "homeward")).values()]


def test_a_rotated_log_and_an_interrupted_client_lose_nothing(suite: str, tmp_path: Path) -> None:
    small = {"RAY_ROTATION_MAX_BYTES": str(SMALL), "RAY_ROTATION_BACKUP_COUNT": "1"}
    with ray_head(tmp_path / "head", **small) as (address, env, logs), rotated(logs) as taken:
        # a client that is interrupted once its job has begun
        words = [sys.executable, "-m", "harness", "submit", suite, "--address", address]
        words += ["--results", str(tmp_path / "first")]
        client = subprocess.Popen(words, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
        assert client.stderr is not None
        job = next(line.split()[1] for line in client.stderr if line.startswith("job oneclock-"))
        assert client.stderr.readline()  # of the job's own log
        client.send_signal(signal.SIGINT)
        said = client.stderr.read()
        assert client.wait(60) == 130
        assert f"oneclock attach {job} --address {address}" in said
        assert not (tmp_path / "first").exists()

        # it attaches again; so does another one, after the end
        for name in ("first", "second"):
            there = ("--address", address, "--results", str(tmp_path / name))
            code, out, err = command_line(env, "attach", job, *there)
            assert code == 0, err[-3000:]
            assert FRAME not in out + err
            assert verdicts(tmp_path / name) == ["VALID"] * 4
        code, _, err = command_line(env, "attach", "--address", address)
        assert (code, f"expected one of {job} (homeward, SUCCEEDED)" in err) == (2, True), err
    assert taken, "the archive was smaller than the log may be"
    home = Store(tmp_path / "first" / "homeward")
    assert home.check() == []
    head = tmp_path / "head" / ".oneclock" / "results" / "homeward"
    for kind in ("log", "trials", "timings"):
        assert all((head / kind / p.name).read_bytes() == p.read_bytes() for p in (home.folder / kind).iterdir())


@pytest.mark.skipif(find_server() is None, reason="moto_server is not installed; `make test-faults` installs it")
def test_a_lost_head_loses_no_row_of_a_bucket(suite: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, s3_server(tmp_path, "bucket") as storage:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        started = []
        for name in ("one", "two"):
            before = time.monotonic()
            with ray_head(tmp_path / name) as (address, env, _):
                there = ("--address", address, "--results", str(tmp_path / f"home-{name}"), "--storage", storage)
                code, out, err = command_line(env, "submit", suite, *there)
            assert code == 0, err[-3000:]
            assert FRAME not in out + err
            assert ("4 attempts came from" in err) == (name == "two"), err[-3000:]
            assert verdicts(tmp_path / f"home-{name}") == ["VALID"] * 4
            started.append(
                {key: row["started_at"] for key, row in rows(Store(tmp_path / f"home-{name}" / "homeward")).items()}
            )
            print(f"{name}: {time.monotonic() - before:.0f} s")
    assert started[0] == started[1]  # the second head measured nothing
