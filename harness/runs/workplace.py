"""Where the workers of a run are: this process, this machine, or a Ray cluster at an address."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config.suite import Suite
from harness.errors import UsageError
from harness.pools.device_choice import ALL_DEVICES, DeviceChoice

if TYPE_CHECKING:
    from harness.planning.plan import Plan
    from harness.pools.pool import Pool
    from harness.pools.ray import RayPool

_LOG = logging.getLogger("oneclock.runs.workplace")


def this_device() -> tuple[str, str]:
    """Return class and name of the device that this machine would use."""
    import torch

    from harness.measure.device_names import device_name, usable_device_type

    kind = usable_device_type(torch.cuda.is_available())
    name = device_name(torch.device(kind))
    return f"{kind}:{name}", name


def make_pool(address: str | None, workers: int | None, choice: DeviceChoice = ALL_DEVICES) -> RayPool:
    """Return a pool of at most `workers` chosen devices of a cluster or this machine. Blocks."""
    from harness.pools.ray import RayPool

    return RayPool(address, workers, choice=choice)


@contextmanager
def open_ray(
    address: str | None, workers: int | None, choice: DeviceChoice = ALL_DEVICES, *, meanwhile: Callable[[], object]
) -> Iterator[Pool]:
    """Yield at most `workers` chosen devices of a cluster or this machine; call `meanwhile` while Ray starts here."""
    from harness.pools.local_ray import LOCAL_RAY

    with ExitStack() as stack:
        if cluster_address(address) is None and LOCAL_RAY.begin():
            stack.callback(LOCAL_RAY.end)
        meanwhile()
        pool = make_pool(address, workers, choice)
        stack.callback(pool.close)
        say_use(pool, address, choice)
        yield pool


def say_use(pool: RayPool, address: str | None, choice: DeviceChoice) -> None:
    """Say how many of how many devices are taken, where they are not just all of this machine."""
    is_here = cluster_address(address) is None
    if not is_here or choice.is_given:
        _LOG.info(pool.describe_use(is_here))


def check_choice_here(choice: DeviceChoice, device_class: str) -> None:
    """Raise UsageError where this machine does not have the devices that are chosen."""
    if choice.is_given:
        import torch

        choice.check_here(device_class, torch.cuda.device_count())


def warn_of_fake_devices(device_name: str) -> None:
    """Say of devices that a test of a cluster made up that nothing is measured on them."""
    from harness.measure.device_names import FAKE

    if device_name.startswith(FAKE):
        _LOG.warning("this run is a test of a cluster on %s: none of its figures is a measurement", device_name)


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
    choice: DeviceChoice = ALL_DEVICES
    """Which devices of the cluster, or of this machine, are taken."""

    def __post_init__(self) -> None:
        """Raise UsageError where the run is in this process and other workers are given too."""
        if self.choice.is_given and (self.in_process or self.pool is not None):
            raise UsageError(
                "--gpus and --device choose among the devices of Ray's workers, and this run has one worker in its "
                "own process; expected neither of them, or no --in-process"
            )
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
        """Raise UsageError for devices that this machine does not have, where it does the work.

        So too where a plan needs several at once and the run is in this process.
        """
        from harness.planning.fit import check_single_device

        if self.is_here:
            check_choice_here(self.choice, plan.device_class)
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
            with open_ray(self.address, suite.workers, self.choice, meanwhile=check_known_answers) as workers:
                warn_of_fake_devices(workers.device_name)
                yield workers
            return

        # without Ray
        check_known_answers()
        workers = LocalPool(self.raise_errors) if self.pool is None else self.pool()
        warn_of_fake_devices(workers.device_name)
        try:
            yield workers
        finally:
            workers.close()
