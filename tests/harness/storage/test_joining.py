"""Several results folders in one: byte by byte, the first row stays, and what contradicts is kept apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_children import PLAN, tables

from harness.errors import LockedError, StoreDamagedError, UsageError
from harness.storage.joining import CONFLICTS, join_folders
from harness.storage.lock import RunLock
from harness.storage.planned import read_planned, read_title, write_planned
from harness.storage.pruning import find_stale, prune_stale
from harness.storage.store import Store


def rows(trial_id: str, **changes: object) -> dict[str, list[dict[str, object]]]:
    found = tables(trial_id)
    known = {"network": "unet", "method": "ddim", "steps": 5, "fid": 4.0, "fid_low": 3.5, "fid_high": 4.5}
    return {**found, "trials": [{**found["trials"][0], **known, "images_sha256": "a" * 64, **changes}]}


def folder(path: Path, of: dict[str, dict[str, object]], title: str = "") -> Path:
    store = Store.create_or_open(path)
    for trial_id, changes in of.items():
        store.commit(trial_id, rows(trial_id, **changes))
        (path / "samples").mkdir(exist_ok=True)
        (path / "samples" / f"{trial_id}.png").write_bytes(path.name.encode())
    write_planned(path, list(of), title)
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for kind in ("trials", "steps", "log")
        for file in (path / kind).iterdir()
    }


def test_rows_of_both_are_copied_byte_by_byte(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", {PLAN[0]: {}}, "a title"), folder(tmp_path / "other", {PLAN[1]: {}})
    found = join_folders([one, other], tmp_path / "both")
    assert [(joined.new, joined.equal, joined.conflicts) for joined in found] == [(1, 0, ()), (1, 0, ())]
    assert contents(tmp_path / "both") == contents(one) | contents(other)
    assert read_planned(tmp_path / "both") == (PLAN[0], PLAN[1])
    assert read_title(tmp_path / "both") == "a title"
    assert (tmp_path / "both/samples" / f"{PLAN[1]}.png").read_bytes() == b"other"
    assert not (tmp_path / "both" / CONFLICTS).exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, ""),  # the same images
        ({"images_sha256": "b" * 64, "fid": 4.4, "fid_high": 4.9}, ""),  # rounded otherwise, by less than the noise
        ({"images_sha256": "b" * 64, "fid": 6.0, "fid_high": 6.5}, "has FID 4 there and 6 here"),
        ({"verdict": "INVALID", "reasons": "copies-the-reference"}, "is VALID there and INVALID here"),
    ],
)
def test_of_a_trial_that_both_have_the_first_row_stays(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    one = folder(tmp_path / "a" / "toy", {PLAN[0]: {}})
    other = folder(tmp_path / "b" / "toy", {PLAN[0]: changes})
    _, found = join_folders([one, other], tmp_path / "both")
    assert contents(tmp_path / "both") == contents(one)
    assert (found.equal, len(found.conflicts)) == ((0, 1) if sentence else (1, 0))
    assert all(sentence in text and text.startswith("unet:ddim-5 (") for text in found.conflicts)

    # kept apart, whole
    apart = tmp_path / "both" / CONFLICTS / "b-toy"
    assert apart.is_dir() == bool(sentence)
    if sentence:
        assert contents(apart) == contents(other)
        assert (apart / "samples" / f"{PLAN[0]}.png").read_bytes() == b"toy"


def test_a_failed_row_gives_way_to_a_finished_one(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", {PLAN[0]: {"status": "failed", "verdict": "INVALID", "reasons": "failed(x)"}})
    other = folder(tmp_path / "other", {PLAN[0]: {}})
    join_folders([one, other], tmp_path / "both")
    assert Store(tmp_path / "both").snapshot().finished() == {PLAN[0]: "VALID"}
    assert len(Store(tmp_path / "both").snapshot().entries) == 2  # the failure is kept as an earlier attempt


def test_joined_twice_nothing_changes(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", {PLAN[0]: {}}), folder(tmp_path / "other", {PLAN[1]: {}})
    join_folders([one, other], tmp_path / "both")
    before = contents(tmp_path / "both")
    assert [(found.new, found.equal) for found in join_folders([one, other], tmp_path / "both")] == [(0, 1)] * 2
    assert contents(tmp_path / "both") == before


def test_what_cannot_be_joined_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", {PLAN[0]: {}}), folder(tmp_path / "other", {PLAN[1]: {}})
    with pytest.raises(UsageError, match="is a source and the target"):
        join_folders([one, other], other)
    next((other / "trials").iterdir()).write_bytes(b"torn")
    with pytest.raises(StoreDamagedError, match="intact"):
        join_folders([one, other], tmp_path / "both")
    assert not (tmp_path / "both").exists()

    with RunLock(one), pytest.raises(LockedError):
        join_folders([folder(tmp_path / "third", {PLAN[2]: {}})], one)


def test_stale_rows_move_to_quarantine_and_nothing_else(tmp_path: Path) -> None:
    path = folder(tmp_path / "toy", {PLAN[0]: {}, PLAN[1]: {}})
    kept = {name: data for name, data in contents(path).items() if PLAN[0] in name}
    write_planned(path, [PLAN[0]])
    stale = find_stale(Store(path))
    assert stale[0].path.startswith("log/")  # a broken move leaves orphans, no empty entry
    before = contents(path)

    assert prune_stale(Store(path)) == 1
    assert contents(path) == kept
    assert not (path / "samples" / f"{PLAN[1]}.png").exists()
    moved = {
        str(file.relative_to(path / "quarantine")): file.read_bytes() for file in (path / "quarantine").rglob("*.*")
    }
    assert moved.items() >= (before.items() - kept.items())
    assert prune_stale(Store(path)) == 0
    assert Store(path).check() == []


def test_a_folder_without_a_plan_is_not_pruned(tmp_path: Path) -> None:
    path = folder(tmp_path / "toy", {PLAN[0]: {}})
    (path / "planned.json").unlink()
    with pytest.raises(UsageError, match="so run its suite"):
        prune_stale(Store(path))
