"""Rows that arrive: copied as they are, next to those that are there, which stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from store_children import PLAN, tables

from harness.errors import LockedError
from harness.storage.lock import RunLock
from harness.storage.merging import merge_results
from harness.storage.planned import read_planned, read_title, write_planned
from harness.storage.returned_files import is_returned_name, list_returned
from harness.storage.store import Store


def failed(trial_id: str) -> dict[str, list[dict[str, object]]]:
    row = {"suite": "toy", "status": "failed", "verdict": "INVALID", "reasons": "failed(worker-died)"}
    return {"trials": [row], "steps": tables(trial_id)["steps"]}


@pytest.fixture
def head(tmp_path: Path) -> Store:
    """A folder with four trials, the second after a failure, of which the latest plan has two."""
    store = Store.create_or_open(tmp_path / "head")
    store.commit(PLAN[0], tables(PLAN[0]))
    store.commit(PLAN[1], failed(PLAN[1]))
    for trial_id in PLAN[1:4]:
        store.commit(trial_id, tables(trial_id))
    (store.folder / "samples").mkdir()
    for trial_id in PLAN[:3]:
        (store.folder / "samples" / f"{trial_id}.png").write_bytes(trial_id[:5].encode())
    write_planned(store.folder, [PLAN[1], PLAN[2], PLAN[7]], "two of four")
    return store


def arrived(head: Store, tmp_path: Path) -> Path:
    """Return a folder that holds what comes home of a head's, as an archive brings it."""
    folder = tmp_path / "arrived"
    shutil.rmtree(folder, ignore_errors=True)
    for file in list_returned(head.folder):
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(head.folder / file.name, path)
        assert path.stat().st_size == file.bytes
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    kinds = ("trials", "steps", "log", "samples")
    return {str(p.relative_to(folder)): p.read_bytes() for kind in kinds for p in (folder / kind).iterdir()}


def test_only_the_rows_of_the_latest_plan_come_home(head: Store) -> None:
    names = [file.name for file in list_returned(head.folder)]
    assert all(is_returned_name(name) for name in names)
    logs = [name for name in names if name.startswith("log/")]
    assert sorted(logs) == sorted([f"log/{PLAN[1]}-2.json", f"log/{PLAN[2]}-1.json"])
    assert max(i for i, n in enumerate(names) if n.startswith("trials/")) < names.index(logs[0])
    assert {n for n in names if n.startswith("samples/")} == {f"samples/{one}.png" for one in PLAN[1:3]}
    assert names[-2:] == ["planned.json", "store.json"]


def test_a_folder_without_a_plan_returns_all_its_rows(head: Store) -> None:
    (head.folder / "planned.json").unlink()
    assert sum(file.name.startswith("log/") for file in list_returned(head.folder)) == 4


def test_parts_and_log_entries_are_copied_not_encoded_anew(
    head: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.storage.store.encode", None)
    merge_results(arrived(head, tmp_path), tmp_path / "home")
    home = contents(tmp_path / "home")
    assert home == {name: data for name, data in contents(head.folder).items() if name in home}
    assert set(Store(tmp_path / "home").snapshot().finished()) == {PLAN[1], PLAN[2]}
    assert read_planned(tmp_path / "home") == (PLAN[1], PLAN[2], PLAN[7])
    assert read_title(tmp_path / "home") == "two of four"
    assert Store(tmp_path / "home").check() == []
    assert not (tmp_path / "home" / "run.lock").exists()


def test_nothing_that_is_here_is_overwritten_and_a_second_merge_adds_nothing(head: Store, tmp_path: Path) -> None:
    home = Store.create_or_open(tmp_path / "home")
    own = {**tables(PLAN[2])["trials"][0], "fid": 77.0}
    home.commit(PLAN[2], {"trials": [own]})
    (home.folder / "samples").mkdir()
    (home.folder / "samples" / f"{PLAN[2]}.png").write_bytes(b"mine")
    before = contents(home.folder)
    for _ in range(2):
        merge_results(arrived(head, tmp_path), home.folder)
    after = contents(home.folder)
    assert before.items() <= after.items()
    latest = home.snapshot().latest().set_index("trial_id")["fid"]
    assert (latest[PLAN[2]], len(latest)) == (77.0, 2)
    assert not home.snapshot().read("trials").duplicated("trial_id").any()


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_finished_row_counts_after_failures_here(head: Store, tmp_path: Path, failures: int) -> None:
    home = Store.create_or_open(tmp_path / "home")
    for _ in range(failures):
        home.commit(PLAN[1], failed(PLAN[1]))
    merge_results(arrived(head, tmp_path), home.folder)
    assert PLAN[1] in Store(home.folder).snapshot().finished()
    last = home.snapshot().latest().set_index("trial_id").loc[PLAN[1]]
    assert last["attempt"] == max(2, failures + 1)
    assert last["fid"] == tables(PLAN[1])["trials"][0]["fid"]
    steps = home.snapshot().read("steps")
    assert (steps["attempt"][steps["trial_id"] == PLAN[1]] == last["attempt"]).sum() == 3
    assert Store(home.folder).check() == []


def test_a_folder_that_a_run_holds_is_left_alone(head: Store, tmp_path: Path) -> None:
    home = Store.create_or_open(tmp_path / "home")
    with RunLock(home.folder), pytest.raises(LockedError):
        merge_results(arrived(head, tmp_path), home.folder)
    assert home.snapshot().entries == []


@pytest.mark.parametrize(
    "name",
    ["", "log", "log/", "x/planned.json", "planned.json/..", "LOG/a", "samples/a.png", f"trials/{'0' * 64}-1.json",
     f"zoo/{'0' * 64}-1-{'0' * 16}.parquet", f"trials/x/{'0' * 64}-1-{'0' * 16}.parquet"],
)  # fmt: skip
def test_other_names_do_not_come_home(name: str) -> None:
    assert not is_returned_name(name)
