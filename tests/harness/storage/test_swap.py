"""Files that are replaced together: all are new, or all are as they were."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from harness.errors import StorageFullError, UsageError
from harness.storage.disk import Disk
from harness.storage.swap import replace_together

OLD = {"plots/a.svg": b"old a", "plots/c.svg": b"old c", "page.html": b"old page", "table.csv": b"old table"}
NEW = {"plots/a.svg": b"new a", "plots/b.svg": b"new b", "table.csv": b"new table", "page.html": b"new page"}


class FailsAt(Disk):
    """Fails at the n-th call of one step."""

    def __init__(self, step: str, call: int, code: int) -> None:
        self.step, self.left, self.code = step, call, code

    def _count(self, step: str) -> None:
        if step == self.step:
            self.left -= 1
            if self.left < 0:
                raise OSError(self.code, "no")

    def create(self, temp: Path) -> int:
        self._count("create")
        return super().create(temp)

    def rename(self, temp: Path, final: Path) -> None:
        self._count("rename")
        super().rename(temp, final)

    def sync_folder(self, folder: Path) -> None:
        self._count("sync_folder")
        super().sync_folder(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_all_are_replaced_and_folders_as_a_whole(tmp_path: Path) -> None:
    replace_together(tmp_path, OLD, ["plots"])
    (tmp_path / "mine.txt").write_bytes(b"mine")
    assert replace_together(tmp_path, NEW, ["plots"]) == [tmp_path / name for name in NEW]
    assert files(tmp_path) == {**NEW, "mine.txt": b"mine"}
    replace_together(tmp_path, {"page.html": b"x"}, ["plots"])
    assert list((tmp_path / "plots").iterdir()) == []


@pytest.mark.parametrize("first", [True, False], ids=["nothing there", "over an old one"])
@pytest.mark.parametrize("step", ["create", "rename", "sync_folder"])
def test_a_failure_at_any_step_leaves_all_as_they_were(tmp_path: Path, step: str, first: bool) -> None:
    folder = tmp_path / "results"
    before = {} if first else OLD
    for call in range(100):
        if before:
            replace_together(folder, before, ["plots"])
        try:
            replace_together(folder, NEW, ["plots"], FailsAt(step, call, errno.EIO))
        except OSError:
            assert files(folder) == before
            assert first or (folder / "plots").is_dir()
        else:
            break
    assert call > len(NEW) - 1
    assert files(folder) == NEW


@pytest.mark.parametrize(("code", "error"), [(errno.EROFS, UsageError), (errno.ENOSPC, StorageFullError)])
def test_a_folder_that_takes_nothing_is_refused_in_one_sentence(
    tmp_path: Path, code: int, error: type[Exception]
) -> None:
    replace_together(tmp_path, OLD, ["plots"])
    with pytest.raises(error, match=str(tmp_path)) as caught:
        replace_together(tmp_path, NEW, ["plots"], FailsAt("create", 0, code))
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == OLD
