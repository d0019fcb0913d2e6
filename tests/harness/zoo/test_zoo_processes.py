"""The trainings as processes: two at a time, paused and resumed as a whole, a failure named with its log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.errors import HarnessError, LockedError, UsageError
from harness.storage.lock import RunLock, holder
from harness.zoo import processes, recipes
from harness.zoo.processes import pause_trainings, resume_trainings, run_trainings
from harness.zoo.recipes import ListedTraining, TrainingRecipe

ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import os, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from harness.storage.lock import RunLock
name, trainings, kind = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
with RunLock(trainings / name, 3600.0):
    print(name, "begins", flush=True)
    running = len([p for p in trainings.glob("*/run.lock")])
    (trainings / name / "seen").write_text(str(running) + " " + str(os.nice(0)) + " " + os.environ["OMP_NUM_THREADS"])
    group = Path("/proc/self/autogroup")
    (trainings / name / "session").write_text(group.read_text() if group.exists() else "nice 1")
    until = time.monotonic() + 60
    while kind == "counts" and time.monotonic() < until and not (trainings / "enough").exists():
        with open(trainings / name / "count", "a") as stream:
            stream.write(".")
        time.sleep(0.01)
sys.exit(kind == "fails")
"""


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Stand-ins for trainings, by name: what they do. They end with the test."""
    wanted: dict[str, str] = {}

    def command(training: ListedTraining, results: Path) -> list[str]:
        code = CHILD.format(root=str(ROOT))
        return [sys.executable, "-c", code, training.name, str(results / "trainings"), wanted[training.name]]

    monkeypatch.setattr(processes, "_command", command)
    monkeypatch.setattr(processes, "TRAINING_POLL_SECONDS", 0.05)
    monkeypatch.setattr(processes, "NICE", 1)  # at lowest priority they would wait for the other tests
    listed = lambda: [ListedTraining(recipe=TrainingRecipe(dataset="digits", network=n), seed=0) for n in wanted]  # noqa: E731
    monkeypatch.setattr(recipes, "list_trainings", listed)
    monkeypatch.setattr(processes, "select_unfinished", list)
    yield wanted
    (tmp_path / "trainings").mkdir(exist_ok=True)
    (tmp_path / "trainings" / "enough").touch()
    resume_trainings(tmp_path)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "nothing happened within a minute"
        time.sleep(0.02)


def test_two_at_a_time_at_the_priority_they_are_given(
    kinds: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kinds.update(dict.fromkeys(("one", "two", "three"), "ends"))
    run_trainings(tmp_path)
    for name in kinds:
        running, nice, threads = (tmp_path / "trainings" / name / "seen").read_text().split()
        assert int(running) <= 2
        assert int(nice) == min(19, os.nice(0) + 1)
        assert threads == "1"
        assert (tmp_path / "trainings" / name / "session").read_text().split()[-2:] == ["nice", "1"]
    assert {line.split()[0] for line in capfd.readouterr().err.splitlines()} == set(kinds)


def test_a_name_picks(kinds: dict[str, str], tmp_path: Path) -> None:
    kinds.update(dict.fromkeys(("one", "two"), "ends"))
    run_trainings(tmp_path, ["two"])
    assert not (tmp_path / "trainings" / "one").exists()
    with pytest.raises(UsageError, match=r'zoo training "tow" is not listed; did you mean "two"\?'):
        run_trainings(tmp_path, ["tow"])


def test_one_that_fails_is_named_with_its_log_and_the_others_run(kinds: dict[str, str], tmp_path: Path) -> None:
    kinds.update({"one": "fails", "two": "ends", "three": "ends"})
    with pytest.raises(HarnessError, match=r"not finished: one; see .*trainings/one/log\.txt"):
        run_trainings(tmp_path)
    assert (tmp_path / "trainings" / "three" / "seen").exists()


def test_pause_stops_them_where_they_are_and_resume_lets_them_go_on(kinds: dict[str, str], tmp_path: Path) -> None:
    kinds.update({"one": "counts", "two": "counts", "three": "counts"})
    runner = threading.Thread(target=run_trainings, args=(tmp_path,), daemon=True)
    runner.start()
    counts = [tmp_path / "trainings" / name / "count" for name in ("one", "two")]
    wait_for(lambda: all(path.exists() for path in counts))

    assert pause_trainings(tmp_path) == ["one", "two"]
    stopped = [pid for _, pid in processes._running_trainings(tmp_path)]
    wait_for(lambda: all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in stopped))
    before = [path.stat().st_size for path in counts]
    with pytest.raises(UsageError, match="the trainings are paused"):
        run_trainings(tmp_path)
    time.sleep(0.2)
    assert [path.stat().st_size for path in counts] == before
    assert not (tmp_path / "trainings" / "three" / "seen").exists()

    assert resume_trainings(tmp_path) == ["one", "two"]
    wait_for(lambda: all(path.stat().st_size > size for path, size in zip(counts, before, strict=True)))
    (tmp_path / "trainings" / "enough").touch()
    runner.join(timeout=60)
    assert not runner.is_alive()
    assert (tmp_path / "trainings" / "three" / "seen").exists()


def test_what_an_earlier_call_started_is_not_started_twice(kinds: dict[str, str], tmp_path: Path) -> None:
    kinds.update({"one": "counts"})
    left_behind: dict[str, subprocess.Popen[bytes]] = {}
    processes._start_next(tmp_path, recipes.list_trainings(), left_behind, {})
    wait_for(lambda: (tmp_path / "trainings" / "one" / "count").exists())
    kinds.update({"two": "ends"})
    run_trainings(tmp_path)
    assert (tmp_path / "trainings" / "one" / "log.txt").read_text() == "one begins\n"
    assert (tmp_path / "trainings" / "two" / "seen").exists()
    (tmp_path / "trainings" / "enough").touch()
    left_behind["one"].wait(timeout=60)


def test_two_calls_do_not_run_the_list_at_once(kinds: dict[str, str], tmp_path: Path) -> None:
    kinds.update({"one": "ends"})
    with RunLock(tmp_path / "trainings"), pytest.raises(LockedError):
        run_trainings(tmp_path)
    assert not (tmp_path / "trainings" / "one").exists()


def test_a_lock_that_names_no_process_holds_nothing(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        assert holder(tmp_path) == os.getpid()
        facts = json.loads((tmp_path / "run.lock").read_text())
        (tmp_path / "run.lock").write_text(json.dumps({**facts, "pid": -1}))
        assert holder(tmp_path) is None


def test_by_default_it_is_the_lowest_priority() -> None:
    assert processes.NICE == 19


def test_nothing_was_running(tmp_path: Path) -> None:
    assert pause_trainings(tmp_path) == resume_trainings(tmp_path) == []
