"""What a test's child process can import: folders of its own before what this process was told to look in."""

from __future__ import annotations

import os


def prepended(*folders: object) -> str:
    """Return a PYTHONPATH of these folders and, after them, those of the present one."""
    before = os.environ.get("PYTHONPATH")
    return os.pathsep.join([*map(str, folders), *([before] if before else [])])
