"""Publishing a file: whole or not at all, first writer wins, full and forbidden folders are said in a sentence."""

import errno
import functools
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from harness.errors import StorageFullError, StoreDamagedError, UsageError
from harness.storage.disk import Disk, is_temp, publish, read_regular, replace, swapped_folder, temp_name

STEPS = ["create", "write", "sync", "read_back", "link", "sync_folder", "unlink"]


def names(folder):
    """Return what lies in a folder, by name."""
    return sorted(path.name for path in folder.iterdir())


class Recorder(Disk):
    """Notes the order of the write steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def _note(self, name: str, step, *arguments):
        self.steps.append(name)
        return step(*arguments)

    def __getattribute__(self, name: str):
        found = super().__getattribute__(name)
        return functools.partial(self._note, name, found) if name in (*STEPS, "rename") else found


class Failing(Disk):
    """Fails with an error number at one step; writes at most three bytes at once before that."""

    def __init__(self, step: str, number: int, after: int = 0) -> None:
        self.number, self.left = number, after
        setattr(self, step, self._fail)

    def _fail(self, *arguments):
        if self.left > 0 and isinstance(arguments[-1], memoryview):
            taken = super().write(arguments[0], arguments[1][: min(3, self.left)])
            self.left -= taken
            return taken
        raise OSError(self.number, os.strerror(self.number))


def test_publish_says_what_lies_there_and_takes_the_steps_in_order(tmp_path):
    disk = Recorder()
    done = publish(tmp_path / "a", b"hello", disk)
    assert (tmp_path / "a").read_bytes() == b"hello"
    assert (done.bytes, done.sha256) == (5, hashlib.sha256(b"hello").hexdigest())
    assert disk.steps == STEPS
    assert names(tmp_path) == ["a"]


def test_empty_and_large_bytes_survive(tmp_path):
    publish(tmp_path / "empty", b"")
    data = os.urandom(3_000_000)
    publish(tmp_path / "large", data)
    assert (tmp_path / "empty").read_bytes() == b""
    assert (tmp_path / "large").read_bytes() == data


def test_the_first_writer_wins(tmp_path):
    publish(tmp_path / "a", b"one")
    with pytest.raises(FileExistsError):
        publish(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_replace_takes_the_name_and_leaves_no_other(tmp_path):
    replace(tmp_path / "a", b"one")
    replace(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("write", [publish, replace])
def test_a_planted_link_is_not_followed(tmp_path, write):
    target = tmp_path / "victim"
    target.write_bytes(b"precious")
    (tmp_path / "a").symlink_to(target)
    if write is publish:
        with pytest.raises(FileExistsError):
            write(tmp_path / "a", b"x")
    else:
        write(tmp_path / "a", b"x")
        assert not (tmp_path / "a").is_symlink()
    assert target.read_bytes() == b"precious"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_full_disk_names_folder_and_bytes_and_leaves_nothing(tmp_path, number, after):
    with pytest.raises(StorageFullError) as caught:
        publish(tmp_path / "a", b"hello", Failing("write", number, after))
    assert str(tmp_path) in str(caught.value)
    assert "5 bytes" in str(caught.value)
    assert caught.value.exit_code == 5
    assert names(tmp_path) == []


def test_a_full_disk_at_fsync_is_not_swallowed(tmp_path):
    with pytest.raises(StorageFullError):
        publish(tmp_path / "a", b"hello", Failing("sync", errno.ENOSPC))
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_forbidden_folder_is_a_usage_error(tmp_path, number):
    with pytest.raises(UsageError, match="cannot write in"):
        publish(tmp_path / "a", b"hello", Failing("create", number))


def test_another_error_is_passed_on(tmp_path):
    with pytest.raises(OSError, match="Input/output"):
        publish(tmp_path / "a", b"hello", Failing("sync", errno.EIO))


def test_a_device_that_gives_back_other_bytes_is_caught(tmp_path):
    disk = Disk()
    disk.read_back = lambda temp: "0" * 64
    with pytest.raises(StoreDamagedError, match="other bytes"):
        publish(tmp_path / "a", b"hello", disk)
    assert names(tmp_path) == []


def test_left_overs_are_recognised():
    name = temp_name(Path("folder") / ("x" * 250))
    assert is_temp(name.name)
    assert len(name.name) < 255
    assert not is_temp("trials.parquet")


def test_read_regular_refuses_links_pipes_and_folders(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    assert read_regular(tmp_path / "file") == b"x"
    for name in ("link", "pipe", "."):
        with pytest.raises(OSError, match=r"regular|symbolic"):
            read_regular(tmp_path / name)


def test_a_folder_is_swapped_whole(tmp_path):
    final = tmp_path / "plots"
    for text in ("one", "two"):
        with swapped_folder(final) as fresh:
            (fresh / "deep").mkdir()
            (fresh / "deep" / text).write_text(text)
        assert names(final / "deep") == [text]
    assert names(tmp_path) == ["plots"]


def test_a_folder_stays_when_its_successor_fails(tmp_path):
    final = tmp_path / "plots"
    with swapped_folder(final) as fresh:
        (fresh / "a").write_text("a")
    with pytest.raises(ZeroDivisionError), swapped_folder(final) as fresh:
        raise ZeroDivisionError
    assert names(final) == ["a"]
    with pytest.raises(StorageFullError), swapped_folder(final, Failing("sync", errno.ENOSPC)) as fresh:
        (fresh / "b").write_text("b")
    assert names(final) == ["a"]
    assert names(tmp_path) == ["plots"]


def test_a_folder_comes_back_when_the_second_rename_fails(tmp_path):
    class SecondFails(Disk):
        calls = 0

        def rename(self, temp, final):
            self.calls += 1
            if self.calls == 2:
                raise OSError(errno.EIO, "broken")
            super().rename(temp, final)

    with swapped_folder(tmp_path / "plots") as fresh:
        (fresh / "a").write_text("a")
    with pytest.raises(OSError, match="broken"), swapped_folder(tmp_path / "plots", SecondFails()):
        pass
    assert names(tmp_path / "plots") == ["a"]


def test_a_real_full_disk(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"a small tmpfs cannot be mounted here: {error}")
    try:
        publish(tmp_path / "a", b"a" * 8192)
        with pytest.raises(StorageFullError, match="100000 bytes"):
            publish(tmp_path / "b", b"b" * 100_000)
        assert names(tmp_path) == ["a"]
        assert (tmp_path / "a").read_bytes() == b"a" * 8192
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True, timeout=10)
