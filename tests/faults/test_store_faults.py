"""Kills, full disks and rival drivers: committed rows are never lost, doubled or torn."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.python_path import prepended
from kit.store_kit import LITTER, rows_as_text
from store_children import PLAN, Counting, tables

from harness.errors import StorageFullError
from harness.storage.disk import Disk
from harness.storage.store import Store

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("encode_once")


def children(scenario: str, folder: Path, rounds: int = 0):
    """Run a scenario of the script beside this file and return its answer and what it printed as errors."""
    folder.mkdir(exist_ok=True)
    script = str(Path(__file__).with_name("store_children.py"))
    done = subprocess.run(
        [sys.executable, script, scenario, str(folder), str(rounds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": prepended(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def expected(tmp_path_factory, encode_once) -> str:
    """The rows that an undisturbed run of the plan leaves."""
    store = Store.create_or_open(tmp_path_factory.mktemp("whole"))
    for trial_id in PLAN:
        store.commit(trial_id, tables(trial_id))
    return rows_as_text(store)


def test_a_kill_at_every_write_step_leaves_no_row_or_one(tmp_path):
    """Marker, two parts and log entry take seven steps each; a torn write ends each of the four once more."""
    codes, _ = children("steps", tmp_path)
    assert codes == [-9] * 28 + [0] + [-9] * 4
    whole = []
    for at in range(len(codes)):
        store = Store.create_or_open(tmp_path / str(at))
        whole.append(list(store.snapshot().finished()) == PLAN[:1])
        assert {problem.kind for problem in store.check()} <= LITTER, at
        if not whole[-1]:
            assert store.commit(PLAN[0], tables(PLAN[0])) == 1, at
        assert [len(store.snapshot().read(table)) for table in ("trials", "steps")] == [1, 3], at
        store.quarantine()
        assert store.snapshot().finished() == {PLAN[0]: "VALID"}, at
    assert whole == [False] * 26 + [True] * 3 + [False] * 4  # from the link of the log entry on, and not before


def test_random_kills_lose_and_double_nothing(tmp_path, expected):
    finished, _ = children("kills", tmp_path / "store", 20)
    assert finished == sorted(finished)
    store = Store.create_or_open(tmp_path / "store")
    assert rows_as_text(store) == expected
    assert {problem.kind for problem in store.check()} <= LITTER


def test_two_drivers_at_once_one_is_refused(tmp_path):
    codes, said = children("locked", tmp_path, 20)
    assert codes == [[0, 3]] * 20
    assert said.count("is in use by process") == 20
    for number in range(20):
        assert Store.create_or_open(tmp_path / str(number)).check() == []
        assert not (tmp_path / str(number) / "run.lock").exists()


def test_two_drivers_without_the_lock_do_double_work_at_worst(tmp_path):
    codes, _ = children("unlocked", tmp_path, 6)
    assert codes == [[0, 0]] * 6
    for number in range(6):
        store = Store.create_or_open(tmp_path / str(number))
        rows = store.snapshot().read("trials")
        assert not rows.duplicated(["trial_id", "attempt"]).any()
        assert sorted(store.snapshot().latest().trial_id) == sorted(PLAN[:3])
        assert len(store.snapshot().read("steps")) == 3 * len(rows)
        assert {problem.kind for problem in store.check()} <= LITTER


@pytest.mark.parametrize("room", [0, 1, 500, 15_000, 30_000])
def test_a_full_disk_stops_with_code_5_and_shows_nothing(pair, room):
    class Full(Disk):
        left = room

        def write(self, descriptor, data):
            if self.left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = super().write(descriptor, data[: self.left])
            self.left -= taken
            return taken

    store, _ = pair
    before = rows_as_text(store)
    with pytest.raises(StorageFullError, match="bytes were needed") as caught:
        Store(store.folder, Full()).commit(PLAN[2], {**tables(PLAN[2]), "timings": [{"seconds": 0.1}] * 9000})
    assert str(store.folder) in str(caught.value)
    assert caught.value.exit_code == 5
    assert rows_as_text(store) == before
    assert {problem.kind for problem in store.check()} <= {"orphan"}
    assert store.commit(PLAN[2], tables(PLAN[2])) == 1


def test_a_really_full_disk(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=192k", "none", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"a small tmpfs cannot be mounted here: {error}")
    try:
        store, committed = Store.create_or_open(tmp_path / "store"), []
        with pytest.raises(StorageFullError):
            committed.extend(store.commit(trial_id, tables(trial_id)) for trial_id in PLAN * 4)
        assert len(store.snapshot().read("trials")) == len(store.snapshot().entries) > 0
        assert {problem.kind for problem in store.check()} <= {"orphan"}
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True, timeout=10)


class PowerCut(BaseException):
    """Stands for SIGKILL inside one process."""


class Dying(Counting):
    """From the n-th write step on nothing reaches the disk any more, clean-up included."""

    def sync(self, descriptor):
        pass

    def sync_folder(self, folder):
        pass

    def strike(self):
        self.at = self.count + 1
        raise PowerCut


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(cuts=st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=4), order=st.permutations(PLAN))
def test_any_schedule_of_kills_ends_in_the_same_rows(tmp_path_factory, expected, cuts, order):
    folder, before = tmp_path_factory.mktemp("cut"), {}
    for at, torn in [*cuts, (0, False)]:
        try:
            store = Store.create_or_open(folder, Dying(at, torn))
            for trial_id in order:
                if trial_id not in before:
                    store.commit(trial_id, tables(trial_id))
        except PowerCut:
            pass
        store = Store.create_or_open(folder)
        after = store.snapshot().finished()
        assert before.items() <= after.items()  # (a) committed rows are never lost
        before = after
    assert store.snapshot().latest().trial_id.is_unique  # (b) no trial has two accepted rows
    assert len(store.snapshot().read("trials")) == len(PLAN)
    assert rows_as_text(store) == expected  # (c) and (d): the rows of an undisturbed run, byte by byte
    assert {problem.kind for problem in store.check()} <= LITTER
