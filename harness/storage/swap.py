"""Replaces several files and folders together: either all are the new ones, or all are as they were."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.storage.disk import DISK, Disk, move, replace, storage_errors, temp_name


def replace_together(
    folder: Path, files: Mapping[str, bytes], folders: Iterable[str] = (), disk: Disk = DISK
) -> list[Path]:
    """Write files below a folder by relative path, in order, and return their paths.

    Each of `folders` is replaced first and as a whole: it holds the files whose paths begin with it, or none. All are
    written elsewhere before the first takes its name. On a failure after that the former ones get their names back;
    only a killed process leaves some old and some new. Raises UsageError, or StorageFullError, where nothing can be
    written.
    """
    with storage_errors(folder, sum(map(len, files.values()))):
        folder.mkdir(parents=True, exist_ok=True)
        staged = temp_name(folder / "report")
        try:
            for name in folders:
                (staged / "new" / name).mkdir(parents=True)
            for name, data in files.items():
                path = staged / "new" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                replace(path, data, disk)

            tops = dict.fromkeys([*folders, *(Path(name).parts[0] for name in files)])
            with contextlib.ExitStack() as undo:
                for name in tops:
                    undo.enter_context(_swapped(staged / "new" / name, folder / name, staged / "old" / name, disk))
                disk.sync_folder(folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return [folder / name for name in files]


@contextlib.contextmanager
def _swapped(fresh: Path, final: Path, old: Path, disk: Disk) -> Iterator[None]:
    """Give a file or folder its final name; give that back to the former one if the block fails."""
    had_one = final.is_symlink() or final.exists()
    if had_one:
        old.parent.mkdir(exist_ok=True)
        if final.is_dir() and not final.is_symlink():
            move(final, old, disk)
        else:
            shutil.copy2(final, old, follow_symlinks=False)  # readers see a file at every moment

    try:
        disk.rename(fresh, final)
        yield
    except BaseException:
        if final.is_dir() and not final.is_symlink():
            final.rename(fresh)
        if had_one:
            old.rename(final)
        elif final.exists():
            final.unlink()
        raise
