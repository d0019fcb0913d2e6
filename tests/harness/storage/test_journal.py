"""The journal: what was synced is there again after a kill at any byte or any step, and nothing damaged is believed."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import StorageFullError, UsageError
from harness.specs.limits import JOURNAL_GROUP_SECONDS
from harness.storage.disk import Disk
from harness.storage.journal import LINES, Journal

TASK, OTHER = "a" * 64, "b" * 64
UNITS = [(TASK, "0-2"), (TASK, "2-4"), (OTHER, ""), (TASK, "4-5")]


def arrays(number: int) -> dict[str, np.ndarray]:
    return {
        "features": np.arange(6, dtype=np.float32).reshape(2, 3) + number,
        "digests": np.full((2, 4), number, np.uint8),
    }


def filled(folder: Path, disk: Disk | None = None, synced: dict[tuple[str, str], int] | None = None) -> Journal:
    """Return a journal of four results, each synced by itself and then put into `synced`."""
    journal = Journal(folder, disk or Disk())
    for number, (task, unit) in enumerate(UNITS):
        journal.append(task, unit, {"number": number}, arrays(number), {"features"})
        journal.sync()
        if synced is not None:
            synced[task, unit] = number
    return journal


def held(journal: Journal) -> dict[tuple[str, str], int]:
    """Return the units that can be read whole, with their number; whatever is read must be what was written."""
    found = {}
    for key in UNITS:
        blob = journal.get(*key)
        if blob is not None:
            number = blob[1]["number"]
            for name, array in arrays(number).items():
                np.testing.assert_array_equal(blob[0][name], array, strict=True)
            found[key] = number
    return found


ALL = {key: number for number, key in enumerate(UNITS)}


def test_what_was_taken_in_can_be_read_at_once_and_by_the_next_process(tmp_path: Path) -> None:
    assert held(filled(tmp_path)) == ALL
    again = Journal(tmp_path)
    assert held(again) == ALL
    assert set(again.units(TASK)) == {"0-2", "2-4", "4-5"}
    assert again.metadata(OTHER, "") == {"number": 2}
    assert again.arrays(TASK, "0-2") == {"features", "digests"}
    assert list(again.get(TASK, "0-2", {"digests"})[0]) == ["digests"]
    assert not again.warnings
    assert (again.get(TASK, "9-10"), again.metadata(TASK, "9-10")) == (None, None)


def test_a_later_result_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.append(TASK, "0-2", {"number": 3}, arrays(3), {"features"})
    assert held(journal)[TASK, "0-2"] == 3
    journal.sync()
    assert held(Journal(tmp_path)) == {**ALL, (TASK, "0-2"): 3}


def test_cut_at_every_byte_of_the_lines_it_holds_exactly_the_whole_ones_and_goes_on(tmp_path: Path) -> None:
    filled(tmp_path / "whole")
    data = (tmp_path / "whole" / LINES).read_bytes()
    ends = [n + 1 for n, byte in enumerate(data) if byte == ord("\n")]
    assert len(ends) == len(UNITS)
    for size in range(len(data) + 1):
        folder = tmp_path / "cut"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / LINES).write_bytes(data[:size])
        journal = Journal(folder)
        whole = sum(end <= size for end in ends)
        assert held(journal) == dict(list(ALL.items())[:whole])
        assert not journal.warnings
        for number, (task, unit) in list(enumerate(UNITS))[whole:]:
            journal.append(task, unit, {"number": number}, arrays(number), {"features"})
        journal.sync()
        assert held(Journal(folder)) == ALL
        shutil.rmtree(folder)


@pytest.mark.parametrize("suffix", ["transient", "arrays"])
def test_cut_at_every_byte_of_the_arrays_nothing_but_whole_arrays_is_given(tmp_path: Path, suffix: str) -> None:
    filled(tmp_path / "whole")
    file = f"{TASK}.{suffix}"
    data = (tmp_path / "whole" / file).read_bytes()
    each = len(data) // 3
    for size in range(len(data)):
        folder = tmp_path / "cut"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / file).write_bytes(data[:size])
        journal = Journal(folder)
        expected = {key: n for key, n in ALL.items() if key[0] == OTHER or {0: 1, 1: 2, 3: 3}[n] * each <= size}
        assert held(journal) == expected
        assert len(journal.warnings) == len(ALL) - len(expected)
        assert all("damaged" in warning for warning in journal.warnings)
        found = held(journal)
        journal.sync()
        assert held(Journal(folder)) == found  # what was found damaged is forgotten for good
        shutil.rmtree(folder)


def test_any_byte_altered_costs_the_result_that_it_belongs_to_and_no_other(tmp_path: Path) -> None:
    filled(tmp_path / "whole")
    data = (tmp_path / "whole" / LINES).read_bytes()
    ends = [n + 1 for n, byte in enumerate(data) if byte == ord("\n")]
    for at in range(0, len(data), 3):
        folder = tmp_path / "altered"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / LINES).write_bytes(data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :])
        line = sum(end <= at for end in ends)
        expected = {key: n for key, n in ALL.items() if n != line and not (data[at] == ord("\n") and n == line + 1)}
        assert held(Journal(folder)) == expected
        shutil.rmtree(folder)


@pytest.mark.parametrize("synced", [True, False])
def test_dropped_arrays_are_gone_and_the_rest_stays_also_after_new_ones(synced: bool, tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.drop_arrays(TASK, {"features"})
    assert not journal.holds_transient(TASK)
    if synced:
        journal.sync()
        assert not (tmp_path / f"{TASK}.transient").exists()
    journal.append(TASK, "4-5", {"number": 3}, arrays(3), {"features"})
    assert journal.holds_transient(TASK)
    journal.sync()
    for one in (journal, Journal(tmp_path)):
        assert one.arrays(TASK, "0-2") == {"digests"}
        assert one.get(TASK, "0-2")[1] == {"number": 0}
        assert one.arrays(TASK, "4-5") == one.arrays(OTHER, "") == {"features", "digests"}
        np.testing.assert_array_equal(one.get(TASK, "4-5")[0]["features"], arrays(3)["features"])


def test_arrays_that_were_dropped_just_before_a_kill_are_removed_by_the_next_process(tmp_path: Path) -> None:
    class KeepsFiles(Disk):
        def unlink(self, temp: Path) -> None:
            pass

    journal = Journal(tmp_path, KeepsFiles())
    journal.append(TASK, "0-2", {"number": 0}, arrays(0), {"features"})
    journal.drop_arrays(TASK, {"features"})
    journal.sync()
    assert (tmp_path / f"{TASK}.transient").exists()
    Journal(tmp_path)
    assert not (tmp_path / f"{TASK}.transient").exists()


def test_arrays_of_a_drop_that_a_kill_kept_from_the_disk_are_there(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.drop_arrays(TASK, {"features"})  # buffered only; the next process knows nothing of it
    assert held(Journal(tmp_path)) == ALL


class Stops(Disk):
    """Raises at the n-th step, as a kill between two steps leaves the files; earlier steps are done."""

    def __init__(self, at: int) -> None:
        self.at, self.steps = at, []

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) > self.at:
            raise KeyboardInterrupt

    def append(self, path: Path) -> int:
        self._step("append")
        return super().append(path)

    def write(self, descriptor: int, data: memoryview) -> int:
        self._step("write")
        return super().write(descriptor, data[: max(1, len(data) // 2)])  # as a system that takes half at a time

    def sync_data(self, descriptor: int) -> None:
        self._step("sync_data")
        super().sync_data(descriptor)

    def sync_folder(self, folder: Path) -> None:
        self._step("sync_folder")
        super().sync_folder(folder)


def test_stopped_at_every_step_what_sync_returned_for_is_there(tmp_path: Path) -> None:
    whole = Stops(10**6)
    filled(tmp_path / "whole", whole)
    assert {"append", "write", "sync_data", "sync_folder"} == set(whole.steps)
    for at in range(len(whole.steps)):
        folder, synced = tmp_path / f"stopped-{at}", dict[tuple[str, str], int]()
        with pytest.raises(KeyboardInterrupt):
            filled(folder, Stops(at), synced)
        found = held(Journal(folder))
        assert found.items() >= synced.items()
        assert len(found) <= len(synced) + 1
        assert held(filled(folder)) == ALL


def test_it_writes_in_groups_by_age_or_size_and_says_when_it_is_due(tmp_path: Path) -> None:
    class Clock:
        now = 100.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    journal = Journal(tmp_path, clock=clock)
    assert journal.due_seconds() == float("inf")
    journal.append(OTHER, "", {"number": 2}, arrays(2))
    clock.now += JOURNAL_GROUP_SECONDS / 2
    journal.append(TASK, "0-2", {"number": 0}, arrays(0))
    assert journal.due_seconds() == pytest.approx(JOURNAL_GROUP_SECONDS / 2)
    journal.sync_if_due()
    assert not (tmp_path / LINES).exists()
    clock.now += JOURNAL_GROUP_SECONDS / 2
    journal.sync_if_due()
    assert (tmp_path / LINES).read_bytes().count(b"\n") == 2
    assert journal.due_seconds() == float("inf")


def test_a_journal_of_mostly_dead_lines_is_written_anew_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.storage.journal._COMPACT_BYTES", 0)
    journal = filled(tmp_path)
    journal.drop_arrays(OTHER, {"features"})
    for _ in range(20):
        journal.append(TASK, "0-2", {"number": 0}, arrays(0), {"features"})
    journal.sync()
    before = (tmp_path / LINES).stat().st_size
    again = Journal(tmp_path)
    assert (tmp_path / LINES).stat().st_size < before / 2
    for one in (again, Journal(tmp_path)):
        assert one.arrays(OTHER, "") == {"digests"}
        assert {key: n for key, n in ALL.items() if key[0] == TASK}.items() <= _readable(one).items()


def _readable(journal: Journal) -> dict[Any, int]:
    return {key: blob[1]["number"] for key in UNITS if (blob := journal.get(*key)) is not None}


def test_a_full_disk_is_one_sentence_and_nothing_before_it_is_lost(tmp_path: Path) -> None:
    class Full(Disk):
        def write(self, descriptor: int, data: memoryview) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    filled(tmp_path)
    journal = Journal(tmp_path, Full())
    journal.append("c" * 64, "", {"number": 9}, {})
    with pytest.raises(StorageFullError, match="nothing that was committed is lost"):
        journal.sync()
    journal.sync()  # as the run ends; it must not write behind what is torn
    assert held(Journal(tmp_path)) == ALL


def test_a_number_that_no_table_holds_is_refused_and_nothing_is_taken_in(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(UsageError, match="nan"):
        journal.append(TASK, "", {"loss": float("nan")}, arrays(0))
    with pytest.raises(UsageError, match="complex"):
        journal.append(TASK, "", {}, {"z": np.zeros(2, np.complex64)})
    journal.sync()
    assert not (tmp_path / LINES).exists()
    assert not list(tmp_path.iterdir())
