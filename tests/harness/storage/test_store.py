"""The results folder: what is committed is read back, typed and sorted; what is wrong is refused."""

import errno
import functools
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.errors import StorageFullError, UsageError
from harness.identity import content_hash
from harness.schema import TABLES
from harness.storage import snapshot
from harness.storage.disk import Disk
from harness.storage.parquet_parts import decode, encode
from harness.storage.store import Store

ONE, TWO = content_hash("one"), content_hash("two")


class Fast(Disk):
    """Leaves out the waiting for the device."""

    def sync(self, descriptor):
        pass

    def sync_folder(self, folder):
        pass


def names(folder):
    """Return what lies in a folder, by name."""
    return sorted(path.name for path in folder.iterdir())


def rows(verdict="VALID", status="finished", **values):
    """Return the tables of a small attempt."""
    return {
        "trials": [{"suite": "toy", "status": status, "verdict": verdict, "reasons": "", **values}],
        "steps": [{"step": 1, "sigma": 0.5}, {"step": 0, "sigma": 80.0, "nfe": 1.0}],
        "timings": [],
    }


@pytest.fixture
def store(tmp_path):
    return Store.create_or_open(tmp_path / "results" / "toy")


def test_a_new_store_is_empty_and_typed(store):
    for table, declared in TABLES.items():
        frame = store.snapshot().read(table)
        assert list(frame.columns) == [column.name for column in declared.columns]
        assert len(frame) == 0
    assert store.snapshot().finished() == {}
    assert store.snapshot().entries == store.check() == store.snapshot().damage == []


def test_commit_fills_the_keys_and_reads_back(store):
    assert store.commit(ONE, rows(fid=3.5, n_images=np.int64(64), git_dirty=np.True_, kid=np.float32(0.5))) == 1
    row = store.snapshot().read("trials").iloc[0]
    assert (row.trial_id, row.attempt, row.fid, row.n_images, row.kid) == (ONE, 1, 3.5, 64, 0.5)
    assert row.git_dirty is True or row.git_dirty == True  # noqa: E712
    assert list(store.snapshot().read("steps").step) == [0, 1]
    assert len(store.snapshot().read("timings")) == 0
    assert store.check() == []


def test_what_columns_mean_is_in_loaded_tables_and_not_in_every_part(store):
    store.commit(ONE, rows())
    (part,) = (store.folder / "trials").iterdir()
    assert part.stat().st_size < 20_000
    fields = pq.read_schema(part)
    assert all(field.metadata is None for field in fields)
    loaded = decode("trials", part.read_bytes()).schema
    assert loaded.names == fields.names
    assert loaded.field("fid").metadata[b"sentence"].startswith(b"Frechet distance")


def test_types_do_not_depend_on_the_content(store):
    before = store.snapshot().read("trials").dtypes
    store.commit(ONE, rows(n_images=3))
    store.commit(TWO, rows())
    assert store.snapshot().read("trials").dtypes.equals(before)
    assert store.snapshot().read("trials").n_images.isna().sum() == 1


def test_attempts_count_up_and_the_last_one_is_accepted(store):
    assert store.commit(ONE, rows("INVALID", "failed", reasons="worker-died")) == 1
    assert store.snapshot().finished() == {}
    assert store.commit(ONE, rows(fid=1.0)) == 2
    assert store.commit(TWO, rows("INVALID", reasons="nan-samples")) == 1
    assert store.snapshot().finished() == {ONE: "VALID", TWO: "INVALID"}
    assert list(store.snapshot().latest().trial_id) == sorted([ONE, TWO])
    assert store.snapshot().latest().set_index("trial_id").attempt[ONE] == 2
    assert len(store.snapshot().read("trials")) == 3


def test_a_later_failure_unfinishes_a_trial(store):
    store.commit(ONE, rows())
    store.commit(ONE, rows("INVALID", "failed"))
    assert store.snapshot().finished() == {}


def test_ten_attempts_sort_as_numbers(store):
    for _ in range(10):
        last = store.commit(ONE, rows("INVALID", "failed"))
    assert last == 10
    assert list(store.snapshot().read("trials").attempt) == list(range(1, 11))


def test_reopening_finds_the_same(store):
    store.commit(ONE, rows())
    again = Store.create_or_open(store.folder)
    assert again.snapshot().finished() == {ONE: "VALID"}
    pd.testing.assert_frame_equal(again.snapshot().read("trials"), store.snapshot().read("trials"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"fid": float("nan")}, '"fid" of table "trials" is nan'),
        ({"fid": np.float32("inf")}, '"fid" of table "trials" is inf'),
        ({"fid": "3"}, '"fid".*str.*expected double'),
        ({"fid": True}, '"fid".*bool'),
        ({"n_images": 1.0}, '"n_images".*float.*expected int64'),
        ({"n_images": 2**70}, '"n_images".*cannot be stored'),
        ({"suite": 3}, '"suite".*int.*expected string'),
        ({"suite": "\ud800"}, '"suite".*cannot be stored'),
        ({"fidd": 3.0}, 'no column "fidd"; did you mean "fid"'),
        ({"trial_id": TWO}, "another trial"),
        ({"attempt": 1}, "fills both columns"),
        ({"status": "done"}, "found status 'done'"),
        ({"verdict": None}, "with verdict None"),
        ({"status": "failed"}, "failed with INVALID"),
    ],
)
def test_wrong_rows_are_refused_whole(store, values, said):
    with pytest.raises(UsageError, match=said):
        store.commit(ONE, {**rows(), "trials": [{**rows()["trials"][0], **values}]})
    assert store.snapshot().entries == store.check() == []


def test_wrong_tables_are_refused(store):
    with pytest.raises(UsageError, match='table "step"; did you mean "steps"'):
        store.commit(ONE, {**rows(), "step": []})
    with pytest.raises(UsageError, match="found 0 rows"):
        store.commit(ONE, {"steps": []})
    with pytest.raises(UsageError, match="found 2 rows"):
        store.commit(ONE, {"trials": rows()["trials"] * 2})
    with pytest.raises(UsageError, match='"step"'):
        store.snapshot().read("step")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\0b",
        "x" * 300,
        "con",
        ONE + ".",
        ONE.upper(),
        "а" * 64,
        ONE[:63],
        7,
    ],
)
def test_a_trial_id_that_could_name_a_path_is_refused(store, name):
    with pytest.raises(UsageError, match="trial_id is"):
        store.commit(name, rows())
    assert not list(store.folder.rglob("*.parquet"))


def test_the_order_of_commits_does_not_show(tmp_path, monkeypatch):
    known: dict[str, bytes] = {}  # encoding a row is the slow part and knows nothing of any order

    def remembered(table, row):
        key = repr((table, row))
        if key not in known:
            known[key] = encode(table, row)
        return known[key]

    monkeypatch.setattr("harness.storage.store.encode", remembered)
    monkeypatch.setattr("harness.storage.snapshot.decode", functools.cache(decode))
    plan = [(content_hash(n), {"fid": n / 7, "n_images": n if n % 3 else None}) for n in range(500)]
    tables = []
    for seed in (None, 1):
        if seed is not None:
            random.Random(seed).shuffle(plan)
        store = Store.create_or_open(tmp_path / str(seed), Fast())
        for trial_id, values in plan:
            store.commit(trial_id, {"trials": rows(**values)["trials"]})
        store.commit(content_hash(3), rows(fid=0.1))
        found = store.snapshot()
        tables.append((found.read("trials").to_csv().encode(), found.read("steps").to_csv().encode()))
    assert tables[0] == tables[1]
    assert tables[0][0].count(b"\n") == 502


def test_rows_of_an_attempt_are_sorted_at_commit(tmp_path):
    texts = []
    for order in (1, -1):
        store = Store.create_or_open(tmp_path / str(order))
        steps = [{"step": n, "sigma": 1.0 / (n + 1)} for n in range(20)][::order]
        timings = [{"kind": kind, "round": n // 2, "order": n} for kind in ("latency", "throughput") for n in range(8)]
        store.commit(ONE, {"trials": rows()["trials"], "steps": steps, "timings": timings[::order]})
        texts.append(store.snapshot().read("steps").to_csv() + store.snapshot().read("timings").to_csv())
    assert texts[0] == texts[1]


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds 'thesis.tex' and is no results folder"):
        Store.create_or_open(tmp_path)
    assert names(tmp_path) == ["thesis.tex"]
    with pytest.raises(UsageError, match="a file is in the way"):
        Store.create_or_open(tmp_path / "thesis.tex")
    with pytest.raises(UsageError, match="a file is in the way"):
        Store.create_or_open(tmp_path / "thesis.tex" / "deeper")
    with pytest.raises(UsageError, match="is no results folder"):
        Store(tmp_path / "absent")


def test_a_folder_with_only_a_lock_or_left_overs_becomes_a_store(tmp_path):
    (tmp_path / "run.lock").write_text("{}")
    (tmp_path / ".tmp-store.json-0123456789abcdef").write_text("")
    store = Store.create_or_open(tmp_path)
    assert [problem.kind for problem in store.check()] == ["temp"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UsageError, match="cannot write in"):
        Store.create_or_open(tmp_path / "results")


def test_reading_writes_nothing(store):
    store.commit(ONE, rows())
    before = sorted((str(p), p.stat().st_mtime_ns) for p in store.folder.rglob("*"))
    again = Store.create_or_open(store.folder)
    for table in TABLES:
        again.snapshot().read(table)
    again.check()
    again.snapshot().finished()
    assert sorted((str(p), p.stat().st_mtime_ns) for p in store.folder.rglob("*")) == before


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_store_of_another_version_is_refused(store, version):
    marker = store.folder / "store.json"
    marker.write_text(
        marker.read_text().replace(":1", f':"{version}"' if isinstance(version, str) else f":{version or 'null'}")
    )
    with pytest.raises(UsageError, match=r"schema version .*this program reads version 1"):
        Store.create_or_open(store.folder)


def test_a_damaged_marker_is_refused(store):
    (store.folder / "store.json").write_text("[]")
    with pytest.raises(UsageError, match="is no results folder"):
        Store.create_or_open(store.folder)


def test_planted_links_are_not_followed(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (store.folder / "trials" / "link.parquet").symlink_to(outside)
    (store.folder / "log" / f"{ONE}-1.json").symlink_to(outside / "entry")
    assert {(p.kind, p.path.split("/")[0]) for p in store.check()} == {("foreign", "trials"), ("entry", "log")}
    assert store.commit(ONE, rows()) == 2
    store.quarantine()
    assert store.check() == []
    shutil.rmtree(store.folder / "steps")
    (store.folder / "steps").symlink_to(outside)
    with pytest.raises(UsageError, match="symbolic link"):
        Store.create_or_open(store.folder)
    assert names(outside) == []


def test_an_altered_orphan_in_the_way_is_never_taken_for_a_part(store, monkeypatch):
    class Full(Disk):
        def link(self, temp, final):
            if final.suffix == ".json":
                raise OSError(errno.ENOSPC, "full")
            super().link(temp, final)

    with pytest.raises(StorageFullError):
        Store(store.folder, Full()).commit(ONE, rows())
    assert [problem.kind for problem in store.check()] == ["orphan", "orphan"]
    assert not any(problem.is_damage for problem in store.check())
    assert store.commit(ONE, rows()) == 1  # the same bytes again: the orphans are adopted
    assert store.check() == []


def test_what_a_snapshot_holds_is_not_read_again_by_the_next(tmp_path, monkeypatch):
    store = Store.create_or_open(tmp_path / "mine")
    store.commit(ONE, rows())
    read = []
    real = snapshot.read_regular

    def counted(path, size=None):
        read.append(path.name)
        return real(path, size)

    monkeypatch.setattr(snapshot, "read_regular", counted)
    first = store.snapshot()
    store.commit(ONE, rows())
    both = store.snapshot(first)
    assert len(read) == len(set(read))
    assert len(both.read("trials")) == 2
    fresh = store.snapshot()
    assert both.read("trials").equals(fresh.read("trials"))
    assert both.entries == fresh.entries
