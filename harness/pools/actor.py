"""A worker as an actor of Ray: the code in its process, and the pool's record of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from harness.specs.base import Spec
from harness.task import Inputs, Ranks, Span

if TYPE_CHECKING:
    from harness.pools.fake_worker import FakeWorker
    from harness.pools.worker import Worker


@dataclass(frozen=True)
class WorkerInfo:
    """Node, process and device of a worker."""

    node: str
    address: str
    pid: int
    device_type: str
    device_name: str

    @property
    def device_class(self) -> str:
        """Return kind and name of the device, which decide how it rounds."""
        return f"{self.device_type}:{self.device_name}"

    @property
    def place(self) -> str:
        """Return node and process as the log names them."""
        return f"node {self.node[:8]} process {self.pid}"


@dataclass(frozen=True, eq=False)
class WorkerSlot:
    """A worker that has started: its actor, and where that is."""

    actor: Any
    info: WorkerInfo


@ray.remote(max_restarts=0, max_task_retries=0)
class WorkerActor:
    """A `Worker` in a process of Ray, on the device that Ray assigned.

    The pool calls it remotely.
    """

    def __init__(self, progress_seconds: float) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        from harness.pools.node_network import announce_node_address

        announce_node_address(ray.util.get_node_ip_address())
        self._worker = _make_worker(has_gpu=bool(ray.get_gpu_ids()))
        self._progress_seconds = progress_seconds

    def info(self) -> WorkerInfo:
        """Return node, process and device."""
        from harness.measure.device_names import device_name

        return WorkerInfo(
            node=ray.get_runtime_context().get_node_id(),
            address=ray.util.get_node_ip_address(),
            pid=os.getpid(),
            device_type=self._worker.device.type,
            device_name=device_name(self._worker.device),
        )

    def free_port(self) -> int:
        """Return a port of this node that is free now."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return int(probe.getsockname()[1])

    def run(self, spec: Spec, inputs: Mapping[str, Any], span: Span | None, ranks: Ranks) -> Any:
        """Yield the events of one unit.

        Ray resolves its spec; inputs are fetched when they are read.
        """
        from harness.pools.progress import thin_progress

        yield from thin_progress(self._worker.run(spec, Inputs(inputs, _fetch), span, ranks), self._progress_seconds)


def _make_worker(has_gpu: bool) -> Worker | FakeWorker:
    """Return what runs this process's units; only a test of clusters has a fake one, which imports no torch."""
    from harness.measure.device_names import usable_device_type
    from harness.pools.fake_worker import FAKE_TASKS, FakeWorker

    if entry := os.environ.get(FAKE_TASKS):
        return FakeWorker(entry)
    from harness.pools.worker import Worker

    return Worker(usable_device_type(has_gpu), is_alone=True)


def _fetch(ref: Any) -> Any:
    """Return the value of a reference; a value that is none is returned as it is. Blocks."""
    return ray.get(ref) if isinstance(ref, ray.ObjectRef) else ref
