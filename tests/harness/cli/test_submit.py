"""A suite as a Ray job: submitted once, its exit code is the job's, and a real cluster with a token runs it."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest
from kit.faulty import rows
from kit.toys import registered

from harness.cli import job_log, submit
from harness.cli.transfer import FRAME, pack
from harness.config.suite import Suite
from harness.errors import HarnessError, UsageError
from harness.storage.store import Store
from methods.solvers.ddim import DDIM

ROOT = Path(__file__).parents[3]
SUITE = """
name = "travels"
title = "a suite by its path"
dataset = "gaussian"
network = "analytic"
extractor = "pixels"
n_images = 40
batch = 10
precision = "float64"

[baseline]
clock_steps = 2

[timing]
tier = "smoke"
batch = 10

[[trials]]
steps = 2
"""


def test_addresses_that_are_no_dashboard(tmp_path):
    with pytest.raises(UsageError, match='"ray://head:10001"; expected its dashboard, like http://head:8265'):
        submit.submit_suite("quick", "ray://head:10001", tmp_path, [], None, None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match="no Ray dashboard answers at"):
            submit.submit_suite("quick", address, tmp_path, [], None, None)
    assert list(tmp_path.iterdir()) == []


def test_methods_of_other_packages_are_not_sent_and_the_sentence_names_them() -> None:
    class Elsewhere(DDIM):
        name = "toy-elsewhere"

    trials = [{"steps": 2}, {"solver": ["ddim", "toy-elsewhere"], "schedule": {"name": "edm", "rho": 5.0}, "steps": 2}]
    suite = Suite.model_validate({**tomllib.loads(SUITE), "trials": trials})
    with registered(Elsewhere):
        said = submit.describe_plugins(suite)
    assert said.startswith(f"toy-elsewhere (module {__name__}): not sent")
    assert submit.describe_plugins(Suite.model_validate(tomllib.loads(SUITE))) == ""


class Job:
    """A client whose job has ended with a status, an exit code and a log."""

    def __init__(self, status: str, code: int | None, logs: str = "") -> None:
        self.status, self.driver_exit_code, self.message, self.logs = status, code, "the last words", logs

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield self.logs

    def get_job_status(self, job: str) -> str:
        return self.status

    def get_job_logs(self, job: str) -> str:
        return self.logs

    def get_job_info(self, job: str) -> Self:
        return self


def test_the_exit_code_is_the_jobs(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job_log, "JOB_POLL_SECONDS", 0.01)
    logs = "talk\n" + "\n".join(pack(finished)) + "\n"
    assert submit._finish(Job("SUCCEEDED", 0, logs), "j", tmp_path / "a") == 0
    assert submit._finish(Job("FAILED", 1, logs), "j", tmp_path / "b") == 1
    said = capsys.readouterr()
    assert said.err == "talk\ntalk\n"
    assert FRAME not in said.out
    assert submit._finish(Job("FAILED", 4, logs), "j", tmp_path / "b") == 4
    for code, kind in ((2, 2), (3, 3), (1, 1), (None, 1)):
        with pytest.raises(HarnessError, match="job j ended as FAILED: the last words") as caught:
            submit._finish(Job("FAILED", code), "j", tmp_path / "c")
        assert caught.value.exit_code == kind


def test_ctrl_c_leaves_the_job_running_and_says_how_to_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Running(Job):
        async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
            yield "first line\n"
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60)

    monkeypatch.setattr(submit, "_connect", lambda address: Running("RUNNING", None))
    monkeypatch.setattr(submit, "_submit_once", lambda *how: "j")
    with pytest.raises(KeyboardInterrupt):
        submit.submit_suite("quick", "http://head:8265", tmp_path, [], None, None)
    assert capsys.readouterr().err.splitlines() == [
        "job j on http://head:8265",
        "first line",
        "job j goes on; to end it: ray job stop j --address http://head:8265",
    ]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def cluster(tmp_path):
    """A real head with a token on this machine: its dashboard's address and the environment of its users."""
    home = tmp_path / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
    temp = Path(f"/tmp/oneclock-{os.getpid()}")  # a socket's path must be short
    variables = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env = {
        **variables,
        "HOME": str(home),
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }
    port, dashboard = free_port(), free_port()
    words = [
        *("ray", "start", "--head", "--block", "--num-cpus=1", "--node-ip-address=127.0.0.1", f"--port={port}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--temp-dir={temp}"),
        *(f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"),
        "--disable-usage-stats",
    ]
    words[0] = str(Path(sys.executable).parent / "ray")
    with (tmp_path / "ray.log").open("w") as log:
        head = subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        yield f"http://127.0.0.1:{dashboard}", env
    finally:
        head.terminate()  # with --block, ray ends its own processes
        try:
            head.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, 9)
            head.wait()
        shutil.rmtree(temp, ignore_errors=True)


def submitted(address, env, *words, seconds=150):
    """Run `oneclock submit`; return its exit code, stdout and stderr."""
    command = [sys.executable, "-m", "harness", "submit", *words, "--address", address]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.ray
@pytest.mark.slow
def test_a_suite_by_its_path_runs_on_a_cluster_with_a_token(cluster, tmp_path):
    address, env = cluster
    path = tmp_path / "travels.toml"
    path.write_text(SUITE)
    wait_for(address)
    code, out, err = submitted(address, {**env, "RAY_AUTH_TOKEN": "f" * 64}, str(path))
    assert (code, out) == (2, ""), err
    assert "refuses us" in err.splitlines()[-1]
    assert "Traceback" not in err
    words = (str(path), "--set", "title=changed", "--results", str(tmp_path / "results"))
    code, out, err = submitted(address, env, *words)
    assert code == 0, err[-3000:]
    assert FRAME not in out + err
    assert "ddim" in out
    found = rows(Store(tmp_path / "results" / "travels"))
    assert [row["verdict"] for row in found.values()] == ["VALID"]
    assert (tmp_path / "home" / ".oneclock" / "results" / "travels" / "log").is_dir()


def wait_for(address):
    """Wait until something listens at an address."""
    host, port = address.removeprefix("http://").split(":")
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens at {address}")


class Line:
    """A job server reached over a bad line: replies with these, in order; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.names = list(answers), []

    def submit_job(self, entrypoint: str, runtime_env: dict[str, Any], submission_id: str) -> str:
        self.names.append(submission_id)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise type(answer)(str(answer).format(submission_id))
        return submission_id


@pytest.mark.parametrize(
    "answers",
    [
        [None],
        [RuntimeError("try again later"), None],
        [ConnectionError("aborted"), None],
        [ConnectionError("aborted"), RuntimeError("Job with submission_id {} already exists.")],
    ],
)
def test_a_job_is_handed_in_once_over_a_bad_line(monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> None:
    monkeypatch.setattr(submit, "JOB_POLL_SECONDS", 0.0)
    line = Line(*answers)
    assert submit._submit_once(line, "there", "python", {}) == line.names[0]
    assert len(set(line.names)) == 1
    assert not line.answers


def test_a_job_that_is_refused_is_not_handed_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "JOB_POLL_SECONDS", 0.0)
    for refusal in (RuntimeError("no"), RuntimeError("Job with submission_id {} already exists.")):
        line = Line(refusal, None)
        with pytest.raises(HarnessError, match="there did not take the job"):
            submit._submit_once(line, "there", "python", {})
        assert len(line.names) == 1
