"""Folders of other file systems: no hard links, no fsync, several mounts in one; symbolic links that were planted."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from harness.config.toml_files import read_toml
from harness.errors import UsageError
from harness.runs import tables
from harness.storage import disk as disk_module
from harness.storage.disk import Disk, move, publish, replace, swapped_folder
from harness.storage.journal import Journal
from harness.storage.sample_grid import write_grid
from harness.storage.swap import replace_together


def refusal(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Odd(Disk):
    """Refuses links with one error, exclusive renames with another (0: not), and folders between file systems."""

    def __init__(self, link: int = 0, exclusive: int = 0, crossing: bool = False) -> None:
        self.numbers, self.crossing = (link, exclusive), crossing

    def link(self, temp: Path, final: Path) -> None:
        if self.numbers[0]:
            raise refusal(self.numbers[0])
        super().link(temp, final)

    def rename_new(self, temp: Path, final: Path) -> None:
        if self.numbers[1]:
            raise refusal(self.numbers[1])
        super().rename_new(temp, final)

    def rename(self, temp: Path, final: Path) -> None:
        if self.crossing and not temp.name.startswith(".tmp-") and "new" not in temp.parts:
            raise refusal(errno.EXDEV)
        super().rename(temp, final)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("link", [errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOSYS])
@pytest.mark.parametrize("exclusive", [0, errno.EINVAL, errno.ENOSYS])
def test_without_hard_links_the_first_writer_wins_too(link: int, exclusive: int, tmp_path: Path) -> None:
    odd = Odd(link, exclusive)
    publish(tmp_path / "a", b"one", odd)
    with pytest.raises(FileExistsError):
        publish(tmp_path / "a", b"two", odd)
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_a_rename_that_fails_at_last_leaves_no_empty_file(tmp_path: Path) -> None:
    class Fails(Odd):
        def rename(self, temp: Path, final: Path) -> None:
            raise refusal(errno.EIO)

    with pytest.raises(OSError, match="Input/output"):
        publish(tmp_path / "a", b"one", Fails(errno.EPERM, errno.ENOSYS))
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EEXIST, errno.EIO, errno.ESTALE])
def test_a_link_that_landed_though_the_call_failed(number: int, tmp_path: Path) -> None:
    class Lost(Disk):
        def link(self, temp: Path, final: Path) -> None:
            super().link(temp, final)
            raise refusal(number)

    publish(tmp_path / "a", b"one", Lost())
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_refuses_to_sync(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise refusal(number)

    monkeypatch.setattr(disk_module.os, "fsync", refuse)
    monkeypatch.setattr(disk_module.os, "fdatasync", refuse)
    publish(tmp_path / "a", b"one")
    replace(tmp_path / "a", b"two")
    journal = Journal(tmp_path / "tasks")
    journal.append("t", "u", {"x": 1}, {"y": np.ones(3)})
    journal.sync()
    assert (tmp_path / "a").read_bytes() == b"two"


def test_a_device_that_fails_to_sync_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise refusal(errno.EIO)

    monkeypatch.setattr(disk_module.os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        publish(tmp_path / "a", b"one")
    assert names(tmp_path) == []


def test_folders_of_another_mount_are_copied_and_removed(tmp_path: Path) -> None:
    odd = Odd(crossing=True)
    (tmp_path / "plots" / "deep").mkdir(parents=True)
    (tmp_path / "plots" / "deep" / "old.png").write_bytes(b"old")
    with swapped_folder(tmp_path / "plots", odd) as fresh:
        (fresh / "new.png").write_bytes(b"new")
    assert names(tmp_path / "plots") == ["new.png"]
    replace_together(tmp_path, {"plots/b.png": b"b"}, ["plots"], odd)
    assert names(tmp_path / "plots") == ["b.png"]
    move(tmp_path / "plots", tmp_path / "moved", odd)
    move(tmp_path / "moved" / "b.png", tmp_path / "c.png", odd)
    assert names(tmp_path) == ["c.png", "moved"]


@pytest.mark.parametrize("planted", ["samples", "tasks"])
def test_a_planted_link_is_refused_and_nothing_outside_is_touched(planted: str, tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "results"
    outside.mkdir()
    folder.mkdir()
    (folder / planted).symlink_to(outside)
    write = {
        "tasks": lambda: Journal(folder / "tasks"),
        "samples": lambda: write_grid(folder / "samples" / "a.png", np.zeros((1, 1, 8, 8), np.uint8)),
    }[planted]
    with pytest.raises(UsageError, match=f"{planted} is a symbolic link; expected a folder of these results"):
        write()
    assert names(outside) == []


def test_a_planted_mark_is_replaced_and_its_target_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, mark = tmp_path / "victim", tmp_path / ".report"
    victim.write_text("precious")
    mark.symlink_to(victim)
    (tmp_path / "report.html").touch()
    monkeypatch.setattr(tables, "build_report_of", lambda found: None)
    assert tables.refresh_report(SimpleNamespace(folder=tmp_path))
    assert victim.read_text() == "precious"
    assert not mark.is_symlink()
    assert not tables.refresh_report(SimpleNamespace(folder=tmp_path))


def test_a_byte_order_mark_of_an_editor_is_read(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_bytes(b"\xef\xbb\xbfname = 'x'\r\n")
    assert read_toml(tmp_path / "suite.toml") == {"name": "x"}
