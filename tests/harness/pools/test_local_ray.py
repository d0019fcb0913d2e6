"""Ray that fails or hangs when it starts: tried again with a message, cleaned up, then one sentence with the way out.

A module named `ray` that only pretends stands before the real one in the head's process.
"""

from __future__ import annotations

import builtins
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from kit.log_kit import Logged
from kit.python_path import prepended
from ray.experimental import tqdm_ray

from harness.errors import UsageError
from harness.pools import local_ray
from harness.pools.local_ray import LocalRay, StartFailedError
from harness.runs import workplace

SAID = "Exception: The current node timed out during startup."
FAKE = """
import subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace

NOTES = Path({folder!r})

def init(**options):
    print("noise of ray", file=sys.stderr, flush=True)
    below = subprocess.Popen(["sleep", "1000"])
    with (NOTES / "processes").open("a") as notes:
        notes.write(f"{{below.pid}}\\n")
    tries = len((NOTES / "processes").read_text().split())
    if tries <= {fails}:
        raise Exception("The current node timed out during startup.")
    if {hangs}:
        time.sleep(1000)
    (NOTES / "options").write_text(repr(options))

def get_runtime_context():
    return SimpleNamespace(gcs_address="127.0.0.1:6001")

def shutdown():
    (NOTES / "shut").touch()
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Return a function that puts a pretending Ray before the real one, which fails so often and may hang then.

    This process has joined none, whatever ran in it before.
    """
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setattr(local_ray, "RAY_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(local_ray, "START_POLL_SECONDS", 0.05)

    def put(fails: int = 0, hangs: bool = False, seconds: float = 60.0) -> Path:
        monkeypatch.setattr(local_ray, "RAY_START_SECONDS", seconds)
        (tmp_path / "ray.py").write_text(FAKE.format(folder=str(tmp_path), fails=fails, hangs=hangs))
        monkeypatch.setenv("PYTHONPATH", prepended(str(tmp_path)))
        return tmp_path

    yield put
    for pid in started(tmp_path):
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def started(folder: Path) -> list[int]:
    """Return the processes that the pretending Ray has started."""
    notes = folder / "processes"
    return [int(line) for line in notes.read_text().split()] if notes.exists() else []


def alive(pids: list[int], seconds: float = 5.0) -> list[int]:
    """Return which of these processes still run after so long."""
    until = time.monotonic() + seconds
    while (left := [p for p in pids if psutil.pid_exists(p)]) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def test_it_is_joined_by_its_address_and_ends_with_us(fake, capfd: pytest.CaptureFixture[str]) -> None:
    folder, ray, joined = fake(), LocalRay(), []
    ray.begin()
    ray.begin()  # once is enough
    ray.start(joined.append)
    assert joined == ["127.0.0.1:6001"]
    assert "'address': 'local'" in (folder / "options").read_text()
    assert len(started(folder)) == 1
    ray.end()
    assert (folder / "shut").exists()  # by itself, not killed
    assert not alive(started(folder))
    assert capfd.readouterr() == ("", "")  # what Ray prints stays away from the terminal


def test_what_fails_is_tried_again_with_a_message_and_leaves_no_process(fake, logged: Logged) -> None:
    folder, ray, joined = fake(fails=2), LocalRay(), []
    ray.start(joined.append)
    assert len(joined) == 1
    assert logged.messages == [
        f"Ray did not start ({SAID}); trying again (2 of 3)",
        f"Ray did not start ({SAID}); trying again (3 of 3)",
    ]
    failed, there = started(folder)[:2], started(folder)[2:]
    assert not alive(failed)
    assert alive(there, 0) == there
    ray.end()


def test_after_the_last_try_one_sentence_names_the_way_out(fake) -> None:
    folder = fake(fails=9)
    with pytest.raises(UsageError, match=r"did not start on this machine in 3 tries .*--in-process") as caught:
        LocalRay().start(lambda address: pytest.fail("there is nothing to join"))
    assert SAID in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(started(folder)) == 3
    assert not alive(started(folder))
    assert UsageError.exit_code == 2


def test_a_start_that_hangs_is_given_up_and_killed(fake, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fake(hangs=True, seconds=2.0)
    monkeypatch.setattr(local_ray, "RAY_START_TRIES", 1)
    monkeypatch.setattr(local_ray, "START_REPORT_SECONDS", 0.3)
    with pytest.raises(UsageError, match="no answer within 2 s"):
        LocalRay().start(lambda address: None)
    assert not alive(started(folder))
    assert any(said.startswith("Ray has been starting for ") for said in logged.messages)


def test_a_join_that_fails_counts_as_a_failed_start(fake) -> None:
    folder, ray, joined = fake(), LocalRay(), []

    def join(address: str) -> None:
        joined.append(address)
        if len(joined) == 1:
            raise StartFailedError("the address does not answer")

    ray.start(join)
    assert len(joined) == len(started(folder)) == 2
    assert not alive(started(folder)[:1])
    ray.end()


def test_what_ends_the_wait_ends_the_start(fake) -> None:
    folder = fake()

    def interrupt(address: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalRay().start(interrupt)
    assert started(folder)
    assert not alive(started(folder))


def test_it_ends_with_a_parent_that_was_killed(fake) -> None:
    folder = fake()
    script = "from harness.pools.local_ray import LOCAL_RAY\nLOCAL_RAY.start(print)\nimport time; time.sleep(1000)"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "127.0.0.1:6001\n"
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 20
    while not (folder / "shut").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert (folder / "shut").exists()


@pytest.mark.parametrize("writable", [True, False])
def test_a_token_is_made_where_the_home_cannot_hold_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: writable)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    local_ray._ensure_token()
    assert ("RAY_AUTH_TOKEN" in os.environ) is not writable


def joined_to(address: str, calls: list[str]) -> SimpleNamespace:
    """Return what stands for Ray's module in a process that has joined a cluster."""
    return SimpleNamespace(
        is_initialized=lambda: True,
        get_runtime_context=lambda: SimpleNamespace(gcs_address=address),
        shutdown=lambda: calls.append("shutdown"),
    )


def test_a_process_that_has_joined_a_cluster_starts_none_and_ends_none(fake, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, ray, calls = fake(), LocalRay(), []
    ray.start(lambda address: None)
    monkeypatch.setitem(sys.modules, "ray", joined_to("127.0.0.1:6001", calls))
    monkeypatch.setattr(local_ray, "LOCAL_RAY", ray)
    pool = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(workplace, "make_pool", lambda *_: pool)
    with workplace.open_ray(None, None, meanwhile=lambda: None) as workers:
        assert workers is pool
    assert len(started(folder)) == 1
    assert psutil.pid_exists(started(folder)[0])
    assert not calls
    ray.end()


def test_who_has_joined_a_head_leaves_it_before_it_ends(fake, monkeypatch: pytest.MonkeyPatch) -> None:
    for address, wanted in (("127.0.0.1:6001", ["shutdown"]), ("10.0.0.1:6379", [])):
        fake()
        ray, calls = LocalRay(), []
        ray.start(lambda address: None)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "ray", joined_to(address, calls))
            ray.end()
        assert calls == wanted


def test_a_timer_of_an_earlier_start_ends_no_later_head(fake) -> None:
    folder, ray = fake(), LocalRay()
    ray.begin()
    ray.end()
    ray.start(lambda address: None)
    ray.end(start=1)
    assert psutil.pid_exists(started(folder)[-1])
    ray.end(start=2)
    assert not alive(started(folder))


def test_ray_that_prints_what_workers_say_leaves_the_builtin_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("harness.pools.cluster")  # sets Ray's variables
    monkeypatch.setattr(tqdm_ray, "_manager", None)
    monkeypatch.setattr(builtins, "print", builtins.print)  # for where it fails
    before = builtins.print
    tqdm_ray.instance()
    assert builtins.print is before
