"""The run lock: one holder, named to the second; released on every way out; taken over from the dead only."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.errors import LockedError, UsageError
from harness.storage.lock import RunLock

ROOT = Path(__file__).parents[3]
HOLD = "with RunLock(folder): print('held', flush=True); time.sleep(30)"


def names(folder):
    """Return what lies in a folder, by name."""
    return sorted(path.name for path in folder.iterdir())


def start(folder: Path, body: str = HOLD) -> subprocess.Popen:
    """Start a process that takes the lock and wait until it holds it."""
    code = "import os, sys, time\nfrom pathlib import Path\nfrom harness.storage.lock import RunLock\n"
    code += f"folder = Path({str(folder)!r})\n"
    process = subprocess.Popen([sys.executable, "-c", code + body], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def finish(process: subprocess.Popen) -> int:
    """Wait for a process, at most ten seconds."""
    try:
        return process.wait(10)
    finally:
        process.kill()
        process.communicate()


def facts(folder: Path) -> dict:
    return json.loads((folder / "run.lock").read_text())


def test_it_is_there_while_held_and_gone_after(tmp_path):
    with RunLock(tmp_path / "results") as lock:
        assert lock.is_held
        assert lock.taken_over is None
        assert facts(tmp_path / "results")["pid"] == os.getpid()
    assert names(tmp_path / "results") == []
    with lock:  # and again
        assert lock.is_held


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_it_is_released_on_exceptions(tmp_path, error):
    with pytest.raises(error), RunLock(tmp_path):
        raise error
    assert names(tmp_path) == []


def test_a_second_driver_is_told_who_holds_it(tmp_path):
    with RunLock(tmp_path) as lock:
        held = facts(tmp_path)
        with pytest.raises(LockedError) as caught, RunLock(tmp_path):
            pass
        for part in (str(os.getpid()), held["host"], held["since"], str(tmp_path)):
            assert part in str(caught.value)
        assert caught.value.exit_code == 3
        with pytest.raises(UsageError, match="entered once"), lock:
            pass
        assert facts(tmp_path) == held


def test_another_process_holds_it_until_it_is_killed(tmp_path):
    process = start(tmp_path)
    try:
        with pytest.raises(LockedError, match=f"process {process.pid} on"), RunLock(tmp_path):
            pass
    finally:
        process.kill()
    finish(process)
    assert (tmp_path / "run.lock").exists()
    with RunLock(tmp_path) as lock:
        assert f"process {process.pid}" in lock.taken_over
        assert "that process is dead" in lock.taken_over
    assert names(tmp_path) == ["run.lock.stale"]


def test_sigterm_releases_and_ends(tmp_path):
    process = start(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert finish(process) == 128 + signal.SIGTERM
    assert names(tmp_path) == []


def test_a_driver_with_its_own_signal_handling_keeps_it(tmp_path):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with RunLock(tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with RunLock(tmp_path):
        pass
    assert signal.getsignal(signal.SIGTERM) == before


def test_it_works_outside_the_main_thread(tmp_path):
    seen = []

    def work():
        with RunLock(tmp_path) as lock:
            seen.append(lock.is_held)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert seen == [True]


def test_a_forked_child_leaves_the_parents_lock_alone(tmp_path):
    body = """
with RunLock(folder) as lock:
    pid = os.fork()
    if not pid:
        sys.exit(0)
    os.waitpid(pid, 0)
    print('held' if lock.is_held else 'lost', flush=True)
"""
    assert finish(start(tmp_path, body)) == 0
    assert names(tmp_path) == []


def plant(folder: Path, age: float, **changes) -> None:
    """Leave a lock file as another driver would have written it, with a heartbeat of some age."""
    with RunLock(folder):
        content = {**facts(folder), "token": "other", **changes}
    (folder / "run.lock").write_text(json.dumps(content))
    beat = time.time() - age
    os.utime(folder / "run.lock", (beat, beat))


@pytest.mark.parametrize(
    ("age", "changes", "stale"),
    [
        (40, {"host": "elsewhere", "pid": 2**22 + 1}, False),
        (60, {"host": "elsewhere", "pid": 2**22 + 1}, True),
        (0, {"pid": 2**22 + 1}, True),
        (0, {"pid_space": "pid:[1]", "pid": 2**22 + 1}, False),
        (0, {"boot_id": "before", "pid": 2**22 + 1}, False),
        (0, {}, False),
        (0, {"process_started": "1"}, True),
        (60, {}, True),
        (3, {"host": "elsewhere", "interval_seconds": 0.1}, True),
        (-500, {"host": "elsewhere"}, False),
    ],
)
def test_only_the_dead_are_robbed(tmp_path, age, changes, stale):
    plant(tmp_path, age, **changes)
    if stale:
        with RunLock(tmp_path) as lock:
            assert lock.is_held
            assert lock.taken_over
    else:
        with pytest.raises(LockedError), RunLock(tmp_path):
            pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x", "host": []}'])
def test_an_unreadable_lock_counts_until_its_heartbeat_is_old(tmp_path, content):
    path = tmp_path / "run.lock"
    path.write_text(content)
    with pytest.raises(LockedError, match="is in use by process"), RunLock(tmp_path):
        pass
    os.utime(path, (1, 1))
    with RunLock(tmp_path) as lock:
        assert lock.taken_over


def test_a_planted_link_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "run.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(LockedError), RunLock(folder):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


def test_the_heartbeat_beats(tmp_path):
    with RunLock(tmp_path, interval_seconds=0.02):
        path = tmp_path / "run.lock"
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 5
        while path.stat().st_mtime < 100 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 100


def test_a_holder_that_was_robbed_knows_and_leaves_the_new_lock(tmp_path):
    with RunLock(tmp_path, interval_seconds=0.02) as lock:
        plant_path = tmp_path / "run.lock"
        plant_path.rename(tmp_path / "run.lock.stale")
        plant_path.write_text('{"token": "other"}')
        os.utime(plant_path, (1, 1))
        time.sleep(0.1)
        assert not lock.is_held
        assert plant_path.stat().st_mtime == 1
    assert plant_path.exists()


def test_of_many_that_find_a_dead_holder_one_gets_the_lock(tmp_path):
    plant(tmp_path, 0, pid=2**22 + 1)
    taken, refused, all_here = [], [], threading.Barrier(8)

    def grab():
        all_here.wait(10)
        try:
            with RunLock(tmp_path) as lock:
                taken.append(lock)
                all_here.wait(10)  # it is held until the others have had their answer
        except LockedError:
            refused.append(1)
            all_here.wait(10)

    threads = [threading.Thread(target=grab) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(taken), len(refused)) == (1, 7)


def test_a_folder_that_vanished_does_not_hide_the_error(tmp_path):
    folder = tmp_path / "results"

    def clear_and_fail():
        (folder / "run.lock").unlink()
        folder.rmdir()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), RunLock(folder):
        clear_and_fail()
