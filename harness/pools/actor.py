"""A worker as an actor of Ray: what runs in its process, and what the pool knows of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray

from harness.specs.base import Spec
from harness.task import Inputs, Ranks, Span


@dataclass(frozen=True)
class WorkerInfo:
    """Where a worker is: its node and process, and its device."""

    node: str
    address: str
    pid: int
    device_type: str
    device_name: str

    @property
    def device_class(self) -> str:
        """Return kind and name of the device: what decides how it rounds."""
        return f"{self.device_type}:{self.device_name}"

    @property
    def place(self) -> str:
        """Return node and process as the log names them."""
        return f"node {self.node[:8]} process {self.pid}"


@dataclass(frozen=True, eq=False)
class WorkerSlot:
    """A worker that has started, as the pool holds it."""

    actor: Any
    info: WorkerInfo


@ray.remote(max_restarts=0, max_task_retries=0)
class WorkerActor:
    """A `Worker` behind Ray; its device is the one Ray gave it."""

    def __init__(self, progress_seconds: float) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        from harness.pools.worker import Worker

        self._worker = Worker("cuda" if ray.get_gpu_ids() else "cpu")
        self._progress_seconds = progress_seconds

    def info(self) -> WorkerInfo:
        """Return where this worker is."""
        from harness.measure.device import device_name

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
        """Yield the events of one unit; its spec comes out of Ray's store, its inputs do when they are read."""
        from harness.pools.worker import thin_progress

        yield from thin_progress(self._worker.run(spec, Inputs(inputs, _fetched), span, ranks), self._progress_seconds)


def _fetched(handle: Any) -> Any:
    """Return the value behind a handle: an object of Ray's store is fetched, anything else is itself."""
    return ray.get(handle) if isinstance(handle, ray.ObjectRef) else handle
