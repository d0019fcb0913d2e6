"""The folder in which Ray keeps its sockets and logs on this machine: checked before Ray starts. Imports no Ray."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from harness.errors import UsageError

_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
"""The longest path of a socket that the system takes, without its closing zero."""
_BELOW = "session_2026-01-31_23-59-59_123456_1234567/sockets/plasma_store"
"""What Ray puts below its folder, at its longest."""


def ray_folder() -> Path:
    """Return the folder that Ray will use here: `ray` in RAY_TMPDIR, else in TMPDIR (Linux), else in /tmp."""
    names = ("RAY_TMPDIR", "TMPDIR") if sys.platform.startswith("linux") else ("RAY_TMPDIR",)
    return Path(next((os.environ[name] for name in names if name in os.environ), "/tmp")) / "ray"


def check_ray_folder() -> None:
    """Raise UsageError where Ray cannot start because of its folder, with the way out."""
    folder = ray_folder()
    length = len(os.fsencode(folder / _BELOW))
    if length > _SOCKET_BYTES:
        raise UsageError(
            f"Ray's sockets would lie in {folder}, with paths of {length} bytes where the system takes "
            f"{_SOCKET_BYTES}; set RAY_TMPDIR to a folder with a short name, as /tmp/{_user()}"
        )

    # the folder, or the one that it will be made in
    place = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    if not place.is_dir():
        raise UsageError(f"Ray's folder {folder} cannot be made: {place} is no folder; set RAY_TMPDIR to one of yours")
    if not os.access(place, os.W_OK | os.X_OK):
        owner, mode = place.stat().st_uid, stat.filemode(place.stat().st_mode)
        raise UsageError(
            f"{place} belongs to another user (number {owner}, {mode}), so Ray cannot start there; set RAY_TMPDIR to "
            f"a folder of yours with a short name, as /tmp/{_user()}"
        )


def _user() -> str:
    return f"ray-{os.getuid()}"
