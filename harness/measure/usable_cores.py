"""The cores that this process may use: a container, `taskset` or a CPU quota may leave it fewer than there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import psutil

_PROCESS = Path("/proc/self")


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use; all where the system restricts no process."""
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # macOS has none
    return list(affinity()) if affinity else list(range(psutil.cpu_count() or 1))


def count_worker_cores(process: Path = _PROCESS) -> int:
    """Return how many workers of one thread each run here without waiting: usable cores, at most the CPU quota."""
    quota = cpu_quota(process)
    cores = len(usable_cores())
    return cores if quota is None else max(min(cores, int(quota + 1e-6)), 1)


def cpu_quota(process: Path = _PROCESS) -> float | None:
    """Return the CPU seconds a second that the control groups of this process grant it; None without a limit.

    Version 1 and 2 of control groups, all groups above its own; what cannot be read sets no limit. `process` is the
    folder of the kernel that describes the process.
    """
    found = [quota for folder, version in _group_folders(process) if (quota := _read_quota(folder, version))]
    return min(found, default=None)


def _group_folders(process: Path) -> Iterator[tuple[Path, int]]:
    """Yield the folders of the CPU groups of a process up to their mounts, each with its version."""
    with suppress(OSError, ValueError):
        mounts = [line.split() for line in (process / "mounts").read_text().splitlines()]
        groups = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
        for _, controllers, path in groups:
            version = 1 if controllers else 2
            if version == 1 and "cpu" not in controllers.split(","):
                continue
            for _, place, kind, options, *_ in mounts:
                if kind == "cgroup2" if version == 2 else kind == "cgroup" and "cpu" in options.split(","):
                    below = PurePosixPath(path.lstrip("/"))
                    yield from ((Path(place) / one, version) for one in (below, *below.parents))


def _read_quota(folder: Path, version: int) -> float | None:
    with suppress(OSError, ValueError, ZeroDivisionError):
        if version == 2:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / name).read_text() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        if float(quota) > 0:  # "max" is no number, -1 is no limit
            return float(quota) / float(period)
    return None
