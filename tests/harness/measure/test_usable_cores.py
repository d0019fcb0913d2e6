"""How many workers a machine carries: its cores, and the CPU quota of control groups in version 1 and 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.measure import usable_cores
from harness.measure.usable_cores import count_worker_cores, cpu_quota


def process(folder: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """Return a pretended folder of a process whose groups are mounted below `folder`."""
    for name, text in {"cgroup": groups, "mounts": mounts.format(folder=folder), **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


V2 = "cgroup2 {folder}/fs cgroup2 rw,relatime 0 0\n"
V1 = "cgroup {folder}/fs/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup {folder}/fs/pids cgroup rw,pids 0 0\n"


@pytest.mark.parametrize(
    ("text", "quota", "workers"),
    [
        ("max 100000\n", None, 4),
        ("100000 100000\n", 1.0, 1),
        ("150000 100000\n", 1.5, 1),
        ("50000 100000\n", 0.5, 1),
        ("900000 100000\n", 9.0, 4),
        ("nonsense", None, 4),
    ],
)
def test_a_quota_of_version_2(
    text: str, quota: float | None, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usable_cores, "usable_cores", lambda: [0, 1, 2, 3])
    here = process(tmp_path, "0::/\n", V2, {"fs/cpu.max": text})
    assert cpu_quota(here) == quota
    assert count_worker_cores(here) == workers


def test_the_tightest_group_above_counts(tmp_path: Path) -> None:
    files = {"fs/a/cpu.max": "200000 100000", "fs/a/b/cpu.max": "max 100000", "fs/cpu.max": "300000 100000"}
    assert cpu_quota(process(tmp_path, "0::/a/b\n", V2, files)) == 2.0


@pytest.mark.parametrize(("quota", "expected"), [("-1", None), ("250000", 2.5)])
def test_a_quota_of_version_1(quota: str, expected: float | None, tmp_path: Path) -> None:
    files = {"fs/cpu/x/cpu.cfs_quota_us": quota, "fs/cpu/x/cpu.cfs_period_us": "100000\n"}
    files |= {"fs/pids/x/cpu.cfs_quota_us": "1000", "fs/pids/x/cpu.cfs_period_us": "100000"}  # another controller's
    assert cpu_quota(process(tmp_path, "9:pids:/x\n4:cpu,cpuacct:/x\n", V1, files)) == expected


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "absent") is None
    assert cpu_quota(process(tmp_path, "0::/host/path/that/is/not/mounted\n", V2, {})) is None
