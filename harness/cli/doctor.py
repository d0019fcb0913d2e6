"""The verb `doctor`: checks this machine, the cluster and the results; one line per finding."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.errors import HarnessError, LockedError, check_folder
from harness.storage.lock import RunLock
from harness.storage.planned import read_planned
from harness.storage.store import Store

_WANTED = ("torch", "torchvision", "torch-fidelity", "ray", "deepspeed", "diffusers", "pandas", "pyarrow", "seaborn")
_LEAST_FREE = 2 << 30  # bytes
_SAFE_RAY = (2, 52)  # token authentication exists from here on (CVE-2025-62593)


@dataclass(frozen=True)
class Finding:
    """One finding. `bad` needs a person's attention.

    `damage` is a committed result that is not intact.
    """

    about: str
    sentence: str
    bad: bool = False
    damage: bool = False

    def line(self) -> str:
        """Return the finding as one line."""
        return f"{'PROBLEM' if self.bad or self.damage else 'ok':8} {self.about:10} {self.sentence}"


def examine(results: Path, address: str | None, fix: bool) -> list[Finding]:
    """Return all findings. Changes nothing unless `fix` is set.

    Works without network, GPU or data.
    """
    check_folder(results)
    findings = [*_check_python(), *_check_devices(), *_check_disk(results), *_check_network()]
    if address or os.environ.get("RAY_ADDRESS"):
        findings += _check_cluster(address)
    for folder in sorted(p.parent for p in results.glob("*/store.json")) or ([results] if _is_store(results) else []):
        findings += check_store(folder, fix)
    return findings


def _check_python() -> Iterator[Finding]:
    found = sys.version.split()[0]
    yield Finding(
        "python",
        f"{found}" + ("" if sys.version_info >= (3, 11) else "; expected 3.11 or later"),
        bad=sys.version_info < (3, 11),
    )

    # libraries and their versions
    missing, versions = [], []
    for name in _WANTED:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)

    yield Finding("libraries", ", ".join(versions))
    if missing:
        yield Finding("libraries", f"{', '.join(missing)} not installed; run `make install`", bad=True)

    if "ray" not in missing:
        release = tuple(int(part) for part in version("ray").split(".")[:2])
        if release < _SAFE_RAY:
            yield Finding("ray", f"ray {version('ray')} has no token authentication; expected 2.52 or later", bad=True)


def _check_devices() -> Iterator[Finding]:
    import torch

    from harness.measure.device_names import cpu_name
    from harness.measure.machine_load import describe_busy_machine

    yield from _check_cores(cpu_name())
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            yield Finding("gpu", f"{index}: {name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    else:
        yield Finding("gpu", "none; suites run on CPU cores")
    if busy := describe_busy_machine():
        yield Finding("load", busy, bad=True)
    else:
        yield Finding("load", "no other program uses this machine much, as timings want it")


def _check_cores(name: str) -> Iterator[Finding]:
    from harness.measure.usable_cores import count_worker_cores, cpu_quota, usable_cores

    cores, quota = len(usable_cores()), cpu_quota()
    if quota is None or quota >= cores:
        yield Finding("cpu", f"{cores} cores, {name}")
        return
    sentence = f"a CPU quota grants {quota:g} of {cores} cores ({name}), so {count_worker_cores()} at a time work here"
    if quota < 1:
        sentence += "; with less than one core timings are throttled: expected a quota of 1 or more"
    yield Finding("cpu", sentence, bad=quota < 1)


def _check_disk(results: Path) -> Iterator[Finding]:
    place = next(p for p in (results, *results.resolve().parents) if p.is_dir())
    free = shutil.disk_usage(place).free
    yield Finding("disk", f"{free / 2**30:.1f} GiB free under {results}", bad=free < _LEAST_FREE)
    if not os.access(place, os.W_OK):
        yield Finding("disk", f"{place} cannot be written; `plan` and `report` of other folders still work", bad=True)


def _check_network() -> Iterator[Finding]:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError as error:
            yield Finding("network", f"no loopback address ({error.strerror}); Ray cannot start", bad=True)
            return
    yield Finding("network", "loopback answers")


def _check_cluster(address: str | None) -> Iterator[Finding]:
    from harness.runs import workplace

    try:
        pool = workplace.make_pool(address, 1)
    except HarnessError as error:
        yield Finding("cluster", str(error), bad=True)
        return
    import ray

    resources = ray.cluster_resources()
    nodes = sum(node["Alive"] for node in ray.nodes())
    pool.close()
    size = f"{nodes} nodes, {resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
    yield Finding("cluster", f"{size}; a worker answers from {pool.device_name}")
    if os.environ.get("RAY_AUTH_MODE") != "token":
        yield Finding("cluster", "token authentication is off; set RAY_AUTH_MODE=token on every node", bad=True)


def _is_store(folder: Path) -> bool:
    return (folder / "store.json").is_file()


def check_store(folder: Path, fix: bool) -> Iterator[Finding]:
    """Yield the findings on one results folder; with `fix` damaged and orphaned files go to quarantine."""
    try:
        store = Store(folder)
        snapshot = store.snapshot()
        problems = store.check(snapshot)
        rows = len(snapshot.finished())
        read_planned(folder)
    except HarnessError as error:
        yield Finding("results", f"{folder}: {error}", damage=True)
        return

    for problem in problems:
        yield Finding("results", f"{folder}: {problem}", bad=True, damage=problem.is_damage)
    if not problems:
        yield Finding("results", f"{folder}: {rows} finished trials, all intact")
        return

    # damaged and orphaned files go to quarantine
    if fix:
        try:
            with RunLock(folder):
                moved = store.quarantine()
        except LockedError as error:
            yield Finding("results", f"{folder}: nothing was moved: {error}", bad=True)
            return
        yield Finding(
            "results", f"{folder}: moved {len(moved)} to quarantine; their trials run again with the next run"
        )
