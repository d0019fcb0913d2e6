"""Gives a file a free name in one step, without hard links: the exclusive rename of Linux and of macOS."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_HERE = -100
"""AT_FDCWD: paths that are not absolute begin at the current folder."""
_NO_REPLACE, _EXCLUSIVE = 1, 4
"""RENAME_NOREPLACE of Linux, RENAME_EXCL of macOS."""


def rename_to_free_name(source: Path, target: Path) -> None:
    """Rename a file; FileExistsError if the name is taken.

    OSError of ENOSYS, EINVAL or ENOTSUP where the system, or the file system, has no such call.
    """
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(source), os.fsencode(target)
    if hasattr(library, "renameat2"):
        failed = library.renameat2(_HERE, names[0], _HERE, names[1], ctypes.c_uint(_NO_REPLACE))
    elif hasattr(library, "renamex_np"):
        failed = library.renamex_np(*names, ctypes.c_uint(_EXCLUSIVE))
    else:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target))
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))
