"""The pool on Ray: one actor per device, whole devices only, on a cluster or on this machine.

Tasks are streaming generators of the actor, so progress and checkpoints reach the driver as they come. An actor that
dies is replaced; what it ran is reported as lost and is the driver's to retry. A task past its deadline is killed.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

from harness.errors import HarnessError, UsageError
from harness.pools import Failure, Happening
from harness.pools.local import failure_of
from harness.tasks import Result, Task

_START_SECONDS = 120.0
EXCLUDES = ["results", ".venv", ".git", "*.parquet", "build", "dist", "**/__pycache__"]


@ray.remote(max_restarts=0, max_task_retries=0)
class WorkerActor:
    """A `Worker` behind Ray; its device is the one Ray gave it."""

    def __init__(self) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        from harness.worker import Worker

        self._worker = Worker("cuda" if ray.get_gpu_ids() else "cpu")

    def facts(self) -> dict[str, Any]:
        """Return where this worker is: node, address, process and device."""
        from harness.device import device_name

        return {
            "node": ray.get_runtime_context().get_node_id(),
            "address": ray.util.get_node_ip_address(),
            "pid": os.getpid(),
            "device_type": self._worker.device.type,
            "device_name": device_name(self._worker.device),
        }

    def free_port(self) -> int:
        """Return a port of this node that is free now."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return int(probe.getsockname()[1])

    def run(self, kind: str, spec: dict[str, Any], inputs: Mapping[str, Any]) -> Any:
        """Yield the events of one task."""
        yield from self._worker.run(kind, spec, inputs)


@dataclass
class _Member:
    actor: Any
    facts: dict[str, Any]
    running: _Running | None = None


@dataclass
class _Running:
    task: Task
    members: list[_Member]
    streams: list[Any] = field(default_factory=list)
    deadline: float = 0.0


class RayPool:
    """All whole devices of a cluster as workers."""

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._own = connect(address)
        self._members: list[_Member] = []
        self._happened: list[Happening] = []
        self._gpus = int(ray.cluster_resources().get("GPU", 0))
        count = self._gpus or int(ray.cluster_resources().get("CPU", 1))
        self._hire(min(count, workers) if workers else count)
        if not self._members:
            self.close()
            raise HarnessError("the Ray cluster offers no free device; expected at least one whole CPU or GPU")
        first = self._members[0].facts
        self.device_name = first["device_name"]
        self.device_class = f"{first['device_type']}:{self.device_name}"

    def put(self, value: Any) -> Any:
        return ray.put(value)

    def size(self) -> int:
        return len(self._members)

    def idle(self, exclusive: bool = False) -> int:
        if not exclusive:
            return sum(m.running is None for m in self._members)
        busy = {m.facts["node"] for m in self._members if m.running is not None}
        return len({m.facts["node"] for m in self._members} - busy)

    def start(self, task: Task, inputs: Mapping[str, Any]) -> None:
        members = self._free_members(task)
        port = ray.get(members[0].actor.free_port.remote(), timeout=_START_SECONDS) if task.ranks > 1 else 0
        running = _Running(task, members, deadline=time.monotonic() + task.deadline_seconds)
        for rank, member in enumerate(members):
            group = {"rank": rank, "size": task.ranks, "address": members[0].facts["address"], "port": port}
            run = member.actor.run.options(num_returns="streaming")
            running.streams.append(run.remote(task.kind, {**task.spec, "group": group}, dict(inputs)))
            member.running = running

    def wait(self, seconds: float) -> Happening | None:
        until = time.monotonic() + seconds
        while not self._happened:
            self._expire()
            streams = {s: r for r in self._all_running() for s in r.streams}
            left = until - time.monotonic()
            if self._happened or not streams or left <= 0:
                break
            ready, _ = ray.wait(list(streams), num_returns=1, timeout=min(left, 1.0), fetch_local=False)
            for stream in ready:
                self._listen(streams[stream], stream)
        return self._happened.pop(0) if self._happened else None

    def close(self) -> None:
        for member in self._members:
            ray.kill(member.actor)
        self._members = []
        if self._own:
            ray.shutdown()

    def _hire(self, count: int) -> None:
        options: dict[str, Any] = {"num_gpus": 1, "num_cpus": 1} if self._gpus else {"num_cpus": 1}
        actor: Any = WorkerActor
        actors = [actor.options(**options).remote() for _ in range(count)]
        told = {actor.facts.remote(): actor for actor in actors}
        ready, late = ray.wait(list(told), num_returns=len(told), timeout=_START_SECONDS)
        for ref in ready:
            try:
                self._members.append(_Member(told[ref], ray.get(ref)))
            except ray.exceptions.RayError as error:
                if not self._members and ref == ready[-1]:
                    raise HarnessError(f"a worker could not start: {' '.join(str(error).split())[-400:]}") from None
        for ref in late:
            ray.kill(told[ref])

    def _free_members(self, task: Task) -> list[_Member]:
        free = [m for m in self._members if m.running is None]
        if task.exclusive:
            busy = {m.facts["node"] for m in self._members if m.running is not None}
            free = [m for m in free if m.facts["node"] not in busy]
        if len(free) < task.ranks:
            raise UsageError(f"{task.label} needs {task.ranks} devices at once; the cluster offers {self.size()}")
        nodes = [m.facts["node"] for m in free]
        free.sort(key=lambda m: -nodes.count(m.facts["node"]))  # a group of ranks shares a node where one can hold it
        return free[: task.ranks]

    def _all_running(self) -> list[_Running]:
        found = {id(m.running): m.running for m in self._members if m.running is not None}
        return list(found.values())

    def _listen(self, running: _Running, stream: Any) -> None:
        """Take one event of one rank's stream; only rank 0 is heard, but the failure of any rank is the task's."""
        leader = stream is running.streams[0]
        node = running.members[0].facts["node"]
        try:
            ref = next(stream)
            event = ray.get(ref)
        except StopIteration:
            running.streams.remove(stream)
            if leader:
                self._end(running, Failure("no-result", f"{running.task.label} ended without a result"))
            return
        except ray.exceptions.RayTaskError as error:
            self._end(running, failure_of(error.cause if error.cause is not None else error))
            return
        except ray.exceptions.RayError as error:
            self._end(running, Failure("worker-died", _death(running.task, error), lost=True))
            return
        if not leader:
            return
        if isinstance(event, Result):
            self._release(running)
        self._happened.append(Happening(running.task, event, handle=ref, node=node))

    def _end(self, running: _Running, failure: Failure) -> None:
        """Report a failure; ranks share fate, so a group, or a worker that is gone, is replaced as a whole."""
        self._release(running)
        if failure.lost or running.task.ranks > 1:
            self._replace(running.members)
        self._happened.append(Happening(running.task, failure, node=running.members[0].facts["node"]))

    def _expire(self) -> None:
        for running in self._all_running():
            if time.monotonic() > running.deadline:
                limit = running.task.deadline_seconds
                stacks = [_stack(m.facts) for m in running.members]
                note = f"; it was in {stacks[0]}" if stacks[0] else ""
                sentence = f"{running.task.label} did not end within its deadline of {limit:g} s and was killed{note}"
                self._end(running, Failure("timeout", sentence, lost=True))

    def _release(self, running: _Running) -> None:
        for member in running.members:
            if member.running is running:
                member.running = None

    def _replace(self, members: list[_Member]) -> None:
        for member in members:
            ray.kill(member.actor)
            if member in self._members:
                self._members.remove(member)
        self._hire(len(members))


def connect(address: str | None) -> bool:
    """Join the cluster at an address (or RAY_ADDRESS), or start one here; return whether it is ours to end.

    A Ray that this process has already joined is used as it is.
    """
    if ray.is_initialized():
        return False
    address = address or os.environ.get("RAY_ADDRESS")
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if not address:
        cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count()
        ray.init(num_cpus=cores, include_dashboard=False, **common)
        return True
    root = Path(__file__).resolve().parents[2]
    env = None if os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") else {"working_dir": str(root), "excludes": EXCLUDES}
    try:
        ray.init(address=address, runtime_env=env, **common)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"no Ray cluster answers at {address} ({reason}); start one with `ray start --head`") from None
    return True


def _death(task: Task, error: BaseException) -> str:
    text = " ".join(str(error).split())
    hint = " (out of memory)" if "memory" in text.lower() else ""
    return f"the worker died during {task.label}{hint}"


def _stack(facts: Mapping[str, Any]) -> str | None:
    """Return the innermost frames of a worker on this machine, by py-spy, which Ray brings along; None elsewhere."""
    import shutil
    import subprocess
    import sys

    spy = shutil.which("py-spy") or str(Path(sys.executable).parent / "py-spy")
    try:
        dump = subprocess.run([spy, "dump", "--pid", str(facts["pid"])], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    frames = [line.strip() for line in dump.stdout.splitlines() if line.startswith("    ")]
    return " < ".join(frames[:3]) or None
