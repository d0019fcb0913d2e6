"""Corrupt, foreign and orphaned files: named, never read as rows, moved, and made again."""

import os
from pathlib import Path

import pytest
from store_children import PLAN, tables

from harness.errors import StoreDamagedError
from harness.storage.store import Store

pytestmark = pytest.mark.usefixtures("encode_once")


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


def test_an_altered_orphan_in_the_way_is_named(pair):
    store, files = pair
    entry = store.folder / "log" / files["log"].name
    entry.unlink()
    flip(files["trials"])
    with pytest.raises(StoreDamagedError, match=r"was altered.*doctor --fix"):
        store.commit(PLAN[0], tables(PLAN[0]))
    store.quarantine()
    assert store.commit(PLAN[0], tables(PLAN[0])) == 1


def test_a_part_of_another_length_is_not_read(tmp_path):
    store = Store.create_or_open(tmp_path / "results")
    store.commit(PLAN[0], tables(PLAN[0]))
    (path,) = (store.folder / "trials").iterdir()
    with path.open("r+b") as stream:
        stream.truncate(1 << 40)  # sparse: reading it would take more memory than there is
    (problem,) = store.snapshot().damage
    assert problem.reason.startswith(f"{1 << 40} bytes long; the log says ")
