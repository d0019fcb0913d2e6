"""Kills, full disks, corrupt files and rival drivers: committed rows are never lost, doubled or torn."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.python_path import prepended
from store_children import PLAN, Counting, remembering, tables

from harness.api import load
from harness.errors import StorageFullError, StoreDamagedError
from harness.schema import arrow_schema
from harness.storage.commit_log import Entry, Part, encode_entry, entry_name, part_name
from harness.storage.disk import Disk
from harness.storage.parquet_parts import encode
from harness.storage.store import Store

ROOT = Path(__file__).parents[2]
LITTER = {"orphan", "temp"}


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


def text(store: Store) -> str:
    """Return all rows of the trials and steps as they would be shown."""
    return store.snapshot().read("trials").to_csv() + store.snapshot().read("steps").to_csv()


@pytest.fixture(scope="module", autouse=True)
def encode_once():
    """Encode equal rows once: it is the slow part of a commit and these tests are about what follows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.storage.store.encode", remembering(encode))
        yield


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> str:
    """The rows that an undisturbed run of the plan leaves."""
    store = Store.create_or_open(tmp_path_factory.mktemp("whole"))
    for trial_id in PLAN:
        store.commit(trial_id, tables(trial_id))
    return text(store)


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
    assert text(store) == expected
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


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    path.write_bytes(b"<html>404</html>")


def remove(path: Path) -> None:
    path.unlink()


def link_away(path: Path) -> None:
    path.rename(path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.fixture
def pair(tmp_path):
    """A store of two committed trials and the first one's parts and log entry by table."""
    store = Store.create_or_open(tmp_path / "store")
    for trial_id in PLAN[:2]:
        store.commit(trial_id, tables(trial_id))
    files = {table: next((store.folder / table).glob(f"{PLAN[0]}-1*")) for table in ("trials", "steps", "log")}
    return store, files


@pytest.mark.parametrize("table", ["trials", "steps", "log"])
@pytest.mark.parametrize("harm", [truncate, flip, zero, empty, foreign, remove, link_away, pipe])
def test_damage_is_named_skipped_moved_and_made_again(pair, table, harm):
    store, files = pair
    harm(files[table])
    assert list(store.snapshot().read("trials").trial_id) == [PLAN[1]]
    gone_without_trace = table == "log" and harm is remove
    if not gone_without_trace:
        assert [problem.path for problem in store.snapshot().damage] == [f"{table}/{files[table].name}"]
        assert any(problem.is_damage for problem in store.check())
    assert list(store.snapshot().finished()) == [PLAN[1]]
    assert store.quarantine() != []
    assert store.check() == []
    assert store.commit(PLAN[0], tables(PLAN[0])) == 1
    assert sorted(store.snapshot().finished()) == sorted(PLAN[:2])


def test_foreign_files_are_listed_and_never_opened(pair):
    store, _ = pair
    (store.folder / "trials" / "results.parquet").write_bytes(b"PAR1 nonsense PAR1")
    (store.folder / "log" / "notes.json").write_text("{}")
    (store.folder / "leaderboard.md").write_text("derived files beside the store are nobody's problem")
    assert [(p.kind, p.path) for p in store.check()] == [
        ("foreign", "log/notes.json"),
        ("foreign", "trials/results.parquet"),
    ]
    assert len(store.snapshot().read("trials")) == 2
    store.quarantine()
    assert (store.folder / "quarantine" / "trials" / "results.parquet").read_bytes() == b"PAR1 nonsense PAR1"


def test_a_new_attempt_always_comes_after_the_last_one(pair):
    store, files = pair
    assert store.commit(PLAN[0], tables(PLAN[0])) == 2
    remove(files["trials"])
    store.quarantine()
    for again in (store, Store.create_or_open(store.folder)):
        assert again.commit(PLAN[0], tables(PLAN[0])) == int(store.snapshot().latest().attempt.max())
    assert sorted(store.snapshot().read("trials").attempt) == [1, 2, 3, 4]
    assert store.check() == []


def test_quarantine_never_overwrites(pair):
    store, files = pair
    for _ in range(3):
        files["trials"].with_name("x.parquet").write_text("x")
        store.quarantine()
    assert len(list((store.folder / "quarantine" / "trials").iterdir())) == 3


def test_an_entry_of_another_version_is_refused_by_version_and_stays(pair, monkeypatch):
    store, _ = pair
    monkeypatch.setattr("harness.storage.commit_log.SCHEMA_VERSION", 2)
    store.commit(PLAN[2], tables(PLAN[2]))
    monkeypatch.undo()
    assert len(store.snapshot().read("trials")) == 2
    assert [problem.kind for problem in store.snapshot().damage] == ["version"]
    assert "schema version 2; this program reads version 1" in str(store.snapshot().damage[0])
    before = store.check()
    assert store.quarantine() == []
    assert store.check() == before


@pytest.mark.parametrize("change", ["version", "columns", "type"])
def test_a_part_of_another_schema_is_refused_not_guessed(pair, change):
    store, _ = pair
    schema = arrow_schema("trials")
    content = pq.read_table(pa.BufferReader(encode("trials", [{"trial_id": PLAN[3], "attempt": 1}])))
    if change == "version":
        content = content.replace_schema_metadata({**schema.metadata, b"schema_version": b"0"})
    elif change == "columns":
        content = content.rename_columns({"fid": "fidd"}).replace_schema_metadata(schema.metadata)
    else:
        content = content.set_column(content.column_names.index("fid"), "fid", pa.array(["low"]))
    data = _put_into(store, content)
    assert len(store.snapshot().read("trials")) == 2
    assert [problem.path for problem in store.snapshot().damage] == [f"trials/{part_name(PLAN[3], 1, data)}"]
    assert ("schema version 0" if change == "version" else "columns differ") in store.snapshot().damage[0].reason
    assert store.check() == store.snapshot().damage
    assert load(store.folder).damage == tuple(map(str, store.snapshot().damage))


def test_a_part_from_before_a_column_was_added_is_read_with_that_column_empty(pair):
    store, _ = pair
    content = pq.read_table(pa.BufferReader(encode("trials", [{"trial_id": PLAN[3], "attempt": 1, "nfe": 4.0}])))
    _put_into(store, content.drop_columns(["fid", "network_like"]))
    (row,) = (row for row in store.snapshot().read("trials").to_dict("records") if row["trial_id"] == PLAN[3])
    assert store.snapshot().damage == []
    assert row["nfe"] == 4.0
    assert pd.isna(row["fid"])
    assert pd.isna(row["network_like"])


def _put_into(store, content):
    """Commit a part of table `trials` behind the store's back; return its SHA-256."""
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink)
    data = sink.getvalue().to_pybytes()
    sha256 = hashlib.sha256(data).hexdigest()
    name = part_name(PLAN[3], 1, sha256)
    (store.folder / "trials" / name).write_bytes(data)
    entry = Entry(PLAN[3], 1, "finished", "VALID", (Part("trials", name, len(data), sha256, 1),))
    (store.folder / "log" / entry_name(PLAN[3], 1)).write_bytes(encode_entry(entry))
    return sha256


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
    before = text(store)
    with pytest.raises(StorageFullError, match="bytes were needed") as caught:
        Store(store.folder, Full()).commit(PLAN[2], {**tables(PLAN[2]), "timings": [{"seconds": 0.1}] * 9000})
    assert str(store.folder) in str(caught.value)
    assert caught.value.exit_code == 5
    assert text(store) == before
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


def test_an_altered_orphan_in_the_way_is_named(pair):
    store, files = pair
    entry = store.folder / "log" / files["log"].name
    entry.unlink()
    flip(files["trials"])
    with pytest.raises(StoreDamagedError, match=r"was altered.*doctor --fix"):
        store.commit(PLAN[0], tables(PLAN[0]))
    store.quarantine()
    assert store.commit(PLAN[0], tables(PLAN[0])) == 1


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
    assert text(store) == expected  # (c) and (d): the rows of an undisturbed run, byte by byte
    assert {problem.kind for problem in store.check()} <= LITTER


def forged(store, rows, says):
    """Write the part of trials of the store's only attempt anew, and the log entry that names it."""
    (entry,) = store.snapshot().entries
    (part,) = (one for one in entry.parts if one.table == "trials")
    (row,) = store.snapshot().read("trials").to_dict("records")
    plain = {name: None if pd.isna(value) else value for name, value in row.items()}
    data = encode("trials", [{**plain, **one} for one in rows])
    digest = hashlib.sha256(data).hexdigest()
    fresh = Part("trials", part_name(entry.trial_id, entry.attempt, digest), len(data), digest, says)
    (store.folder / "trials" / part.name).unlink()
    (store.folder / "trials" / fresh.name).write_bytes(data)
    parts = tuple(sorted(fresh if one is part else one for one in entry.parts))
    log = store.folder / "log" / entry_name(entry.trial_id, entry.attempt)
    log.write_bytes(encode_entry(replace(entry, parts=parts)))


@pytest.mark.parametrize(
    ("rows", "says", "reason"),
    [
        ([{}], 1, None),
        ([{"trial_id": PLAN[1]}], 1, f"a row says trial_id {PLAN[1]}; the log says {PLAN[0]}"),
        ([{"attempt": 2}], 1, "a row says attempt 2; the log says 1"),
        ([{"trial_id": None}], 1, f"a row says trial_id None; the log says {PLAN[0]}"),
        ([{}, {}], 1, "2 rows; the log says 1"),
        ([{}], 2, "1 rows; the log says 2"),
    ],
)
def test_rows_that_are_not_those_of_the_log_entry_count_for_no_trial(tmp_path, rows, says, reason):
    store = Store.create_or_open(tmp_path / "results")
    store.commit(PLAN[0], tables(PLAN[0]))
    steps = len(store.snapshot().read("steps"))
    forged(store, rows, says)
    snapshot = store.snapshot()
    assert [problem.reason for problem in snapshot.damage] == ([] if reason is None else [reason])
    assert len(snapshot.read("trials")) == (reason is None)
    assert len(snapshot.read("steps")) == (steps if reason is None else 0)
    found = {problem.kind for problem in store.check()}
    assert found == (set() if reason is None else {"altered"})


def test_a_part_of_another_length_is_not_read(tmp_path):
    store = Store.create_or_open(tmp_path / "results")
    store.commit(PLAN[0], tables(PLAN[0]))
    (path,) = (store.folder / "trials").iterdir()
    with path.open("r+b") as stream:
        stream.truncate(1 << 40)  # sparse: reading it would take more memory than there is
    (problem,) = store.snapshot().damage
    assert problem.reason.startswith(f"{1 << 40} bytes long; the log says ")
