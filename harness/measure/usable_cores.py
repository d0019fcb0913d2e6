"""The cores of this machine that this process may use: a container or `taskset` may leave it fewer than there are."""

from __future__ import annotations

import psutil


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use; all where the system restricts no process."""
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # macOS has none
    return list(affinity()) if affinity else list(range(psutil.cpu_count() or 1))
