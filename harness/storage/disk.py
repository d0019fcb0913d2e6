"""Writes files so that a crash leaves the whole file or nothing under its final name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StorageFullError, StoreDamagedError, UsageError
from harness.storage.exclusive import rename_to_free_name

TEMP_PREFIX = ".tmp-"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL)
_NO_EXCLUSIVE_RENAME = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP)
_NO_SYNC = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
"""How file systems refuse a sync: when bytes reach the device is then their own choice, as after any write."""


@dataclass(frozen=True)
class Published:
    """A written file: its length in bytes and its SHA-256."""

    bytes: int
    sha256: str


class Disk:
    """The write steps, a method each, so that a test can fail or kill a writer between them."""

    def create(self, temp: Path) -> int:
        """Create a new file and return its descriptor; FileExistsError if the name is taken."""
        return os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)

    def append(self, path: Path) -> int:
        """Open a file for appending, or create it, and return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)

    def cut(self, path: Path, size: int) -> None:
        """Truncate a file to `size` bytes."""
        os.truncate(path, size)

    def sync_data(self, descriptor: int) -> None:
        """Force a file's bytes and length to the device."""
        with _unless_refused():
            os.fdatasync(descriptor)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write as many bytes as the system accepts at once and return their number."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Force a file's bytes to the device."""
        with _unless_refused():
            os.fsync(descriptor)

    def read_back(self, temp: Path) -> str:
        """Return the SHA-256 of the file's content."""
        with temp.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def link(self, temp: Path, final: Path) -> None:
        """Give the file its final name; FileExistsError if that is taken."""
        os.link(temp, final, follow_symlinks=False)

    def rename(self, temp: Path, final: Path) -> None:
        """Give the file its final name, replacing a file of that name."""
        temp.rename(final)

    def rename_new(self, temp: Path, final: Path) -> None:
        """Give the file its final name without a link; FileExistsError if that is taken."""
        rename_to_free_name(temp, final)

    def sync_folder(self, folder: Path) -> None:
        """Force a folder's names to the device."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with _unless_refused():
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def unlink(self, temp: Path) -> None:
        """Remove the temporary name."""
        temp.unlink(missing_ok=True)


DISK = Disk()


def publish(final: Path, data: bytes, disk: Disk = DISK) -> Published:
    """Write bytes under a free name; if another writer was first, FileExistsError.

    A file system without hard links renames exclusively, with the same promise. One that cannot do that either (SMB,
    exFAT) gets an empty file of that name first: two writers still never both succeed, but a reader may meet the empty
    file for a moment, and a kill at that moment leaves it, which `doctor` finds.
    """
    return _write_then_name(final, data, disk, lambda temp: _name_once(temp, final, disk))


def replace(final: Path, data: bytes, disk: Disk = DISK) -> Published:
    """Write bytes under a name, replacing a file: readers see the old or the new one, whole."""
    return _write_then_name(final, data, disk, lambda temp: disk.rename(temp, final))


@contextlib.contextmanager
def swapped_folder(final: Path, disk: Disk = DISK) -> Iterator[Path]:
    """Yield a new folder to fill.

    It replaces `final` if the block succeeds; otherwise it is removed.
    """
    fresh, old = temp_name(final), temp_name(final)
    try:
        with storage_errors(final.parent, None):
            fresh.mkdir()
            yield fresh
            _sync_tree(fresh, disk)
            _swap(fresh, final, old, disk)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        _remove(old)


def temp_name(final: Path) -> Path:
    """Return an unused name in the same folder, which `is_temp` recognises as a left-over."""
    return final.with_name(f"{TEMP_PREFIX}{final.name[:120]}-{secrets.token_hex(8)}")


def is_temp(name: str) -> bool:
    """Tell whether a file name is one of `temp_name`."""
    return name.startswith(TEMP_PREFIX)


class WrongSizeError(OSError):
    """A file has another length than expected; `found` is its length in bytes."""

    def __init__(self, path: Path, found: int) -> None:
        super().__init__(errno.EINVAL, "not as long as it should be", str(path))
        self.found = found


def read_regular(path: Path, size: int | None = None) -> bytes:
    """Return a regular file's bytes; OSError for symbolic links, pipes and devices.

    If a size in bytes is given, a file of another size raises WrongSizeError before it is read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with os.fdopen(descriptor, "rb") as stream:
        if size is not None and found.st_size != size:
            raise WrongSizeError(path, found.st_size)
        return stream.read()


@contextlib.contextmanager
def storage_errors(folder: Path, needed: int | None) -> Iterator[None]:
    """Raise StorageFullError or UsageError, with a remedy, for a full or read-only folder."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            wanted = "more space was" if needed is None else f"{needed} bytes were"
            raise StorageFullError(
                f"the storage under {folder} is full: {wanted} needed and {_free_bytes(folder)} are free; "
                "free some space and run again, nothing that was committed is lost"
            ) from error
        if error.errno in _REFUSED:
            raise UsageError(
                f"cannot write in {folder} ({os.strerror(error.errno or 0)}); expected a folder this user may write"
            ) from error
        raise


def _write_then_name(final: Path, data: bytes, disk: Disk, name_it: Callable[[Path], None]) -> Published:
    temp, expected = temp_name(final), hashlib.sha256(data).hexdigest()
    with storage_errors(final.parent, len(data)):
        try:
            _write_whole(temp, data, disk)
            if disk.read_back(temp) != expected:
                raise StoreDamagedError(f"{temp.parent} gave back other bytes than were written; check its device")
            name_it(temp)
            disk.sync_folder(final.parent)
        finally:
            disk.unlink(temp)
    return Published(len(data), expected)


def _swap(fresh: Path, final: Path, old: Path, disk: Disk) -> None:
    had_one = final.is_symlink() or final.exists()
    if had_one:
        move(final, old, disk)
    try:
        disk.rename(fresh, final)
    except BaseException:
        if had_one:
            old.rename(final)
        raise
    disk.sync_folder(final.parent)


def move(source: Path, final: Path, disk: Disk = DISK) -> None:
    """Rename a file or folder; where that would cross file systems, as in a container's image, copy and remove it.

    `final` appears whole in both cases. A kill may leave both.
    """
    try:
        disk.rename(source, final)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise

    copy = temp_name(final)
    try:
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, copy, symlinks=True)
            _sync_tree(copy, disk)
        else:
            shutil.copy2(source, copy, follow_symlinks=False)
        disk.rename(copy, final)
    finally:
        _remove(copy)
    _remove(source)


def make_own_folder(folder: Path) -> None:
    """Make a folder below a results folder; UsageError where a symbolic link or a file has its name."""
    if folder.is_symlink():
        raise UsageError(f"{folder} is a symbolic link; expected a folder of these results, so remove the link")
    with storage_errors(folder.parent, None):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UsageError(f"{folder} is no folder; expected one of these results, so move the file away") from None


def _name_once(temp: Path, final: Path, disk: Disk) -> None:
    """Give a file its final name by the first way that its file system has; FileExistsError if the name is taken."""
    try:
        disk.link(temp, final)
        return
    except OSError as error:
        if _has_landed(temp, final):
            return  # a file server did it, and its answer was lost
        if isinstance(error, FileExistsError) or error.errno not in _NO_LINKS:
            raise

    # without hard links
    try:
        disk.rename_new(temp, final)
        return
    except OSError as error:
        if isinstance(error, FileExistsError) or error.errno not in _NO_EXCLUSIVE_RENAME:
            raise

    # an empty file takes the name, since creating one is exclusive everywhere
    os.close(disk.create(final))
    try:
        disk.rename(temp, final)
    except BaseException:
        disk.unlink(final)
        raise


def _has_landed(temp: Path, final: Path) -> bool:
    with contextlib.suppress(OSError):
        found = temp.lstat()
        return found.st_nlink == 2 and os.path.samestat(found, final.lstat())
    return False


@contextlib.contextmanager
def _unless_refused() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _write_whole(temp: Path, data: bytes, disk: Disk) -> None:
    descriptor = disk.create(temp)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[disk.write(descriptor, rest) :]
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path, disk: Disk) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                disk.sync(descriptor)
            finally:
                os.close(descriptor)
        elif path.is_dir() and not path.is_symlink():
            disk.sync_folder(path)
    disk.sync_folder(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _free_bytes(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free} bytes"
    except OSError:
        return "unknown many"
