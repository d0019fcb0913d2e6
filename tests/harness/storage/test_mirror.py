"""The remote copy of a folder: a new head goes on from it, and what is damaged in it is left out."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from store_children import PLAN, tables

from harness.errors import HarnessError, StoreDamagedError, UsageError
from harness.storage import mirror
from harness.storage.blobs import Blobs
from harness.storage.manifest import fetch_returned, write_manifest
from harness.storage.mirror import Mirror
from harness.storage.planned import write_planned
from harness.storage.remote import RemoteFolder
from harness.storage.returned_files import ReturnedFile, list_returned
from harness.storage.store import Store

WEIGHTS = {"w": np.arange(6, dtype="float32")}


class Noting(RemoteFolder):
    """A storage that notes what is written, and can be made to fail."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.written: list[str] = []
        self.fails = False

    def write(self, name: str, data: bytes) -> None:
        if self.fails:
            raise UsageError("no line to the storage")
        super().write(name, data)
        self.written.append(name)


@pytest.fixture
def remote(tmp_path: Path) -> Noting:
    return Noting(str(tmp_path / "storage"))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results with two trials, a picture, weights, and the checkpoint of a training."""
    store = Store.create_or_open(tmp_path / "results" / "toy")
    for trial_id in PLAN[:2]:
        store.commit(trial_id, tables(trial_id))
    write_planned(store.folder, PLAN[:2], "toy")
    (store.folder / "samples").mkdir()
    (store.folder / "samples" / f"{PLAN[0]}.png").write_bytes(b"picture")
    blobs = Blobs(tmp_path / "results" / "zoo")
    blobs.put("weights", WEIGHTS, {"n": 1})
    blobs.put_latest("training-partial", WEIGHTS, {"step": 1})
    return tmp_path / "results"


def opened(remote: RemoteFolder, results: Path) -> Mirror:
    found = Mirror(remote, results, "toy")
    found.restore()
    return found


def test_a_log_entry_follows_its_parts_and_everything_is_copied_once(remote: Noting, results: Path) -> None:
    copied = opened(remote, results)
    copied.sync()
    names = remote.written
    for entry in Store(results / "toy").snapshot().entries:
        at = names.index(f"toy/log/{entry.trial_id}-1.json")
        assert all(names.index(f"toy/{part.table}/{part.name}") < at for part in entry.parts)
    assert {"zoo/weights.safetensors", "zoo/training-partial.safetensors", "toy/planned.json"} <= set(names)
    assert len(names) == len(set(names))
    copied.sync()
    opened(remote, results).sync()
    changing = {n for n in names if n.endswith((".png", "planned.json", "-partial.safetensors"))}
    assert set(names[len(set(names)) :]) <= changing
    assert (results.parent / "storage" / "toy").is_dir()


def test_a_new_head_goes_on_from_the_copy(remote: Noting, results: Path, tmp_path: Path) -> None:
    opened(remote, results).sync()
    other = tmp_path / "other"
    assert Mirror(remote, other, "toy").restore() == 2
    assert Store(other / "toy").snapshot().finished() == Store(results / "toy").snapshot().finished()
    for name in ("log", "trials"):
        for path in (results / "toy" / name).iterdir():
            assert (other / "toy" / name / path.name).read_bytes() == path.read_bytes()
    assert (other / "toy" / "samples" / f"{PLAN[0]}.png").read_bytes() == b"picture"
    blobs = Blobs(other / "zoo")
    assert blobs.get("weights") is not None
    assert blobs.metadata("training-partial") == {"step": 1}
    assert Mirror(remote, other, "toy").restore() == 0


def test_a_checkpoint_is_copied_after_each_change_and_removed_after_its_training(remote: Noting, results: Path) -> None:
    copied = opened(remote, results)
    copied.sync()
    blobs = Blobs(results / "zoo")
    blobs.put_latest("training-partial", WEIGHTS, {"step": 22})
    copied.sync()
    assert remote.written.count("zoo/training-partial.safetensors") == 2
    blobs.drop("training-partial")
    copied.sync()
    assert set(remote.list_sizes("zoo")) == {"zoo/weights.safetensors"}


def test_a_checkpoint_that_other_jobs_keep_there_stays(remote: Noting, results: Path, tmp_path: Path) -> None:
    copied = opened(remote, tmp_path / "fresh")
    opened(remote, results).sync()
    copied.sync()
    assert "zoo/training-partial.safetensors" in remote.list_sizes("zoo")


@pytest.mark.parametrize("harm", ["part", "missing", "entry", "foreign"])
def test_what_is_damaged_there_is_left_out(remote: Noting, results: Path, tmp_path: Path, harm: str, logged) -> None:
    opened(remote, results).sync()
    there = tmp_path / "storage" / "toy"
    part = next((there / "trials").glob(f"{PLAN[0]}*"))
    if harm == "part":
        part.write_bytes(part.read_bytes()[:-1] + b"x")
    if harm == "missing":
        part.unlink()
    if harm == "entry":
        (there / "log" / f"{PLAN[0]}-1.json").write_bytes(b"{}")
    if harm == "foreign":
        (there / "log" / "strange.json").write_bytes(b"{}")
        (tmp_path / "storage" / "zoo" / "strange.txt").write_bytes(b"")
    came = Mirror(remote, tmp_path / "other", "toy").restore()
    assert came == (2 if harm == "foreign" else 1)
    assert any("is left out" in one for one in logged.messages) == (harm != "foreign")
    assert Store(tmp_path / "other" / "toy").check() == []
    assert not (tmp_path / "other" / "zoo" / "strange.txt").exists()


def test_rows_are_copied_while_a_run_goes_on_and_at_its_end(
    remote: Noting, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "STORAGE_SYNC_SECONDS", 0.01)
    store, came = Store(results / "toy"), threading.Event()
    with opened(remote, results).running():
        store.commit(PLAN[2], tables(PLAN[2]))
        for _ in range(500):
            if f"toy/log/{PLAN[2]}-1.json" in remote.written:
                came.set()
                break
            came.wait(0.01)
        assert came.is_set()
        store.commit(PLAN[3], tables(PLAN[3]))
    assert f"toy/log/{PLAN[3]}-1.json" in remote.written


def test_a_storage_that_is_lost_for_a_while_is_tried_again_and_said_once(
    remote: Noting, results: Path, monkeypatch: pytest.MonkeyPatch, logged
) -> None:
    monkeypatch.setattr(mirror, "STORAGE_SYNC_SECONDS", 0.01)
    seen = threading.Event()
    with opened(remote, results).running():
        Store(results / "toy").commit(PLAN[2], tables(PLAN[2]))
        remote.fails = True
        Store(results / "toy").commit(PLAN[3], tables(PLAN[3]))
        seen.wait(0.1)
        remote.fails = False
    assert f"toy/log/{PLAN[3]}-1.json" in remote.written


def test_a_storage_that_is_lost_at_the_end_ends_the_job_with_a_sentence(remote: Noting, results: Path) -> None:
    def work() -> None:
        with opened(remote, results).running():
            Store(results / "toy").commit(PLAN[4], tables(PLAN[4]))
            remote.fails = True

    with pytest.raises(UsageError, match="no line to the storage"):
        work()


def test_what_ended_a_job_is_not_hidden_by_a_lost_storage(remote: Noting, results: Path, logged) -> None:
    def work() -> None:
        with opened(remote, results).running():
            Store(results / "toy").commit(PLAN[4], tables(PLAN[4]))
            remote.fails = True
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert "the last results are not copied: no line to the storage" in logged.messages


def test_a_job_finds_its_rows_by_its_manifest(remote: Noting, results: Path, tmp_path: Path) -> None:
    opened(remote, results).sync()
    files = list_returned(results / "toy")
    write_manifest(remote, "oneclock-1", "toy", files)
    assert fetch_returned(remote, "oneclock-2") is None
    arrived = fetch_returned(remote, "oneclock-1")
    assert arrived is not None
    assert all((arrived / one.name).read_bytes() == (results / "toy" / one.name).read_bytes() for one in files)
    shutil.rmtree(arrived)


@pytest.mark.parametrize(
    ("suite", "file", "said"),
    [
        ("toy", ReturnedFile("../../escaped", 1, "0" * 64), 'lists the name "../../escaped"'),
        ("toy", ReturnedFile("report.html", 1, "0" * 64), 'lists the name "report.html"'),
        ("toy", ReturnedFile("planned.json", 1 << 40, "0" * 64), f"lists {1 << 40} bytes"),
        ("..", ReturnedFile("planned.json", 1, "0" * 64), "the suite in jobs/j.json is"),
        ("toy", ReturnedFile("planned.json", 1, "0" * 64), "planned.json is missing or altered"),
        ("toy", ReturnedFile(f"samples/{PLAN[5]}.png", 1, "0" * 64), "is missing or altered"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused_and_leaves_nothing(
    remote: Noting,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suite: str,
    file: ReturnedFile,
    said: str,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    opened(remote, results).sync()
    write_manifest(remote, "j", suite, [file])
    with pytest.raises(HarnessError, match=said.replace(".", r"\.")):
        fetch_returned(remote, "j")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_torn_manifest_is_damage(remote: Noting) -> None:
    remote.write("jobs/j.json", b'{"suite": "toy"')
    with pytest.raises(StoreDamagedError, match=r"jobs/j\.json cannot be read"):
        fetch_returned(remote, "j")
