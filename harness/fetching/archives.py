"""Archives of data sets, unpacked so that nothing leaves the folder: tar by Python's data filter, zip by name."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from harness.errors import UsageError


def unpack_archive(archive: Path, name: str, folder: Path) -> None:
    """Unpack a tar or zip archive into an empty folder.

    UsageError for another format, a damaged one, a member that is a link, a device or leads out of the folder, and
    for more than the disk holds.
    """
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, name, folder)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, name, folder)
        else:
            raise UsageError(f"{name} is neither a tar nor a zip archive; expected one, so correct its card")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise UsageError(f"{name} cannot be unpacked ({error}); fetch it again, or unpack it by hand") from None


def _unpack_zip(archive: Path, name: str, folder: Path) -> None:
    with zipfile.ZipFile(archive) as found:
        for member in found.infolist():
            if stat.S_ISLNK(member.external_attr >> 16):
                raise UsageError(_unsafe(name, member.filename))
            _check_inside(name, member.filename)
        _check_room(name, sum(member.file_size for member in found.infolist()), folder)
        found.extractall(folder)


def _unpack_tar(archive: Path, name: str, folder: Path) -> None:
    with tarfile.open(archive) as found:
        members = found.getmembers()
        for member in members:
            if not (member.isfile() or member.isdir()):
                raise UsageError(_unsafe(name, member.name))
            _check_inside(name, member.name)
        _check_room(name, sum(member.size for member in members), folder)
        found.extractall(folder, members, filter="data")


def _check_inside(name: str, member: str) -> None:
    path = PurePosixPath(member.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.partition("/")[0]:
        raise UsageError(_unsafe(name, member))


def _check_room(name: str, needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(f"{name} unpacks to {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; make room")


def _unsafe(name: str, member: str) -> str:
    return f"{name} holds {member!r}, a link or a path out of its folder; expected plain files, so it is not unpacked"
