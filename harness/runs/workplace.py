"""Where the workers of a run are: this process, this machine, or a Ray cluster at an address."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config.suite import Suite
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.planning.plan import Plan
    from harness.pools.pool import Pool


def this_device() -> tuple[str, str]:
    """Return class and name of the device that this machine would use."""
    import torch

    from harness.measure.device import device_name

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    name = device_name(torch.device(kind))
    return f"{kind}:{name}", name


def make_pool(address: str | None, workers: int | None) -> Pool:
    """Return a pool of at most `workers` devices of a cluster or this machine. Blocks."""
    from harness.pools.ray import RayPool

    return RayPool(address, workers)


@contextmanager
def open_ray(address: str | None, workers: int | None, meanwhile: Callable[[], object]) -> Iterator[Pool]:
    """Yield at most `workers` devices of a cluster or this machine; call `meanwhile` while Ray starts here."""
    from harness.pools.local_ray import LOCAL_RAY

    with ExitStack() as stack:
        if cluster_address(address) is None and LOCAL_RAY.begin():
            stack.callback(LOCAL_RAY.end)
        meanwhile()
        pool = make_pool(address, workers)
        stack.callback(pool.close)
        yield pool


def cluster_address(address: str | None) -> str | None:
    """Return the address of the cluster to join: the given one, else RAY_ADDRESS; None to work here."""
    return address or os.environ.get("RAY_ADDRESS") or None


@dataclass(frozen=True)
class Workplace:
    """Where the workers of one run are."""

    address: str | None = None
    """A Ray cluster; None for RAY_ADDRESS, else this machine."""
    pool: Callable[[], Pool] | None = None
    """Makes other workers, as for tests."""
    in_process: bool = False
    raise_errors: bool = False
    """What a method raises in this process ends the run."""

    def __post_init__(self) -> None:
        """Raise UsageError where the run is in this process and other workers are given too."""
        if self.in_process and self.address:
            raise UsageError(
                f"--in-process runs without Ray and --address {self.address} names a Ray cluster; "
                "expected one of the two"
            )
        if self.in_process and self.pool is not None:
            raise UsageError("found in_process=True and a pool; expected one of the two")

    @property
    def is_here(self) -> bool:
        """Tell whether this machine does the work, so that its devices are known before workers start."""
        return self.in_process or (self.pool is None and cluster_address(self.address) is None)

    @property
    def workers(self) -> int | None:
        """Return the number of workers where it is known before they start, else None."""
        return 1 if self.in_process else None

    def describe_start(self) -> str:
        """Return what happens until workers are there."""
        if self.in_process:
            return "checking what measures"
        if self.pool is not None:
            return "starting the workers"
        cluster = cluster_address(self.address)
        return f"joining the Ray cluster at {cluster}" if cluster else "starting Ray on this machine"

    def check(self, plan: Plan, results: Path) -> None:
        """Raise UsageError where a plan needs several devices at once and the run is in this process."""
        from harness.planning.fit import check_single_device

        if self.in_process:
            check_single_device(plan, lambda task_id: (results / "zoo" / f"{task_id}.safetensors").is_file())

    def spread(self, plan: Plan, workers: Pool | None = None) -> Plan:
        """Return the plan with the devices of each training; those of this machine while there are no workers yet."""
        from harness.planning.cost.wall_time import count_local_devices
        from harness.planning.fit import spread_trainings

        if workers is None and not self.is_here:
            return plan
        devices = self.workers or (workers.size() if workers else count_local_devices(plan))
        return spread_trainings(plan, devices, self.is_here)

    @contextmanager
    def open_pool(self, suite: Suite) -> Iterator[Pool]:
        """Yield the workers; before, what measures is checked, while Ray starts if it starts here."""
        from harness.known_answer.check import check_known_answers
        from harness.pools.local import LocalPool

        if self.pool is None and not self.in_process:
            with open_ray(self.address, suite.workers, meanwhile=check_known_answers) as workers:
                yield workers
            return

        # without Ray
        check_known_answers()
        workers = LocalPool(self.raise_errors) if self.pool is None else self.pool()
        try:
            yield workers
        finally:
            workers.close()
