"""The pool on Ray: one actor per device, whole devices only, on a cluster or on this machine.

Tasks are streaming generators of the actor, so progress and checkpoints reach the driver as they come. An actor that
dies is replaced in the background; what it ran is reported as lost and is the driver's to retry. A task past its
deadline is killed. A cluster that is gone ends the run: nothing of it is needed to go on elsewhere.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from harness.errors import HarnessError, UsageError
from harness.pools.cluster import Cluster, connect
from harness.pools.local import failure_of
from harness.specs.base import Spec
from harness.task import Failure, Inputs, Ranks, Result, Span, Task, TaskEvent

_START_SECONDS = 120.0
"""So long a run waits for all workers; then it begins with those that are there, or goes on waiting for the first."""
_TELL_SECONDS = 30.0
_FATE_SECONDS = 5.0  # how long to look for a dead rank behind the complaint of another


@dataclass(frozen=True)
class Whereabouts:
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


@ray.remote(max_restarts=0, max_task_retries=0)
class WorkerActor:
    """A `Worker` behind Ray; its device is the one Ray gave it."""

    def __init__(self) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"
        from harness.pools.worker import Worker

        self._worker = Worker("cuda" if ray.get_gpu_ids() else "cpu")

    def whereabouts(self) -> Whereabouts:
        """Return where this worker is."""
        from harness.device import device_name

        return Whereabouts(
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
        """Yield the events of one task; its spec comes out of Ray's store, its inputs do when they are read."""
        yield from self._worker.run(spec, Inputs(inputs, _fetched), span, ranks)


def _fetched(handle: Any) -> Any:
    """Return the value behind a handle: an object of Ray's store is fetched, anything else is itself."""
    return ray.get(handle) if isinstance(handle, ray.ObjectRef) else handle


@dataclass
class _Member:
    actor: Any
    at: Whereabouts
    running: _Running | None = None


@dataclass
class _Running:
    task: Task
    members: list[_Member]
    streams: list[Any] = field(default_factory=list)
    deadline: float = 0.0


class RayPool:
    """All whole devices of a cluster as workers."""

    def __init__(
        self, address: str | None = None, workers: int | None = None, say: Callable[[str], None] = lambda sentence: None
    ) -> None:
        """Join a cluster or start one; `workers` limits how many are asked for, `say` hears what takes long."""
        self._own = connect(address)
        self._say = say
        self._members: list[_Member] = []
        self._coming: dict[Any, tuple[Any, float]] = {}
        """Workers that were asked for, with the time at which one that was hired in place of another is given up."""
        self._happened: list[TaskEvent] = []
        self._cluster = Cluster()
        self._limit = workers
        self._specs: dict[int, tuple[Spec, Any]] = {}
        self._trouble = "the cluster offers no free device; expected at least one whole CPU or GPU"
        try:
            self._gpus = bool(ray.cluster_resources().get("GPU", 0))
            self._hire()
            self._await_first()
        except BaseException:
            self.close()
            raise
        self.device_name = self._members[0].at.device_name
        self.device_class = self._members[0].at.device_class

    def put(self, value: Any) -> Any:
        return ray.put(value)

    def size(self) -> int:
        return len(self._members) + len(self._coming)

    def idle(self, exclusive: bool = False) -> int:
        return len(self._idle_members(exclusive))

    def start(self, task: Task, inputs: Mapping[str, Any]) -> None:
        members = self._free_members(task)
        running = _Running(task, members, deadline=time.monotonic() + task.deadline_seconds)
        for member in members:
            member.running = running
        try:
            port = ray.get(members[0].actor.free_port.remote(), timeout=_START_SECONDS) if task.ranks > 1 else 0
        except (ray.exceptions.RayError, TimeoutError) as error:
            self._end(running, Failure("worker-died", _death(task, error), lost=True))
            return
        for rank, member in enumerate(members):
            ranks = Ranks(rank, task.ranks, members[0].at.address, port, task.deadline_seconds)
            run = member.actor.run.options(num_returns="streaming")
            running.streams.append(run.remote(self._stored(task), dict(inputs), task.span, ranks))

    def _stored(self, task: Task) -> Any:
        """Return what stands for a task's spec: one that many tasks share is put into Ray's store once."""
        if task.span is None:
            return task.spec
        if id(task.spec) not in self._specs:
            self._specs[id(task.spec)] = task.spec, ray.put(task.spec)
        return self._specs[id(task.spec)][1]

    def wait(self, seconds: float) -> TaskEvent | None:
        until = time.monotonic() + seconds
        while not self._happened:
            self._welcome(0)
            self._expire()
            self._cluster.look()
            left = until - time.monotonic()
            if self._happened or left <= 0:
                break
            if not self._members and not self._coming:
                raise HarnessError(f"no worker is left: {self._trouble}")
            streams = {s: r for r in self._all_running() for s in r.streams}
            awaited = [*streams, *self._coming]
            if not awaited:
                break
            ready, _ = ray.wait(awaited, num_returns=1, timeout=min(left, 1.0), fetch_local=False)
            for stream in ready:
                if stream in streams:
                    self._listen(streams[stream], stream)
        return self._happened.pop(0) if self._happened else None

    def close(self) -> None:
        actors = [*(m.actor for m in self._members), *(recruit for recruit, _ in self._coming.values())]
        self._members, self._coming = [], {}
        if self._cluster.gone:
            return  # to take leave of a cluster that is gone can take a minute
        for actor in actors:
            ray.kill(actor)
        if self._own:
            ray.shutdown()

    def _hire(self) -> None:
        """Ask for as many workers as the cluster has devices now and are not there yet."""
        there = ray.cluster_resources()
        wanted = int(there.get("GPU" if self._gpus else "CPU", 0))
        wanted = min(wanted, self._limit) if self._limit else wanted
        options: dict[str, Any] = {"num_gpus": 1, "num_cpus": 1} if self._gpus else {"num_cpus": 1}
        actor: Any = WorkerActor
        for _ in range(wanted - self.size()):
            recruit = actor.options(**options).remote()
            until = time.monotonic() + _START_SECONDS if self._members else math.inf
            self._coming[recruit.whereabouts.remote()] = recruit, until

    def _await_first(self) -> None:
        """Wait for all workers for a while, then for the first; they may have to import for minutes."""
        began = told = time.monotonic()
        while self._coming and (not self._members or time.monotonic() - began < _START_SECONDS):
            self._welcome(1.0)
            self._cluster.look()
            if time.monotonic() - told >= _TELL_SECONDS:
                told = time.monotonic()
                waited = f"for {told - began:.0f} s"
                self._say(f"{len(self._members)} workers have started, waiting {waited} for {len(self._coming)} more")
        if not self._members:
            raise HarnessError(f"no worker started: {self._trouble}")
        given_up = time.monotonic() + _START_SECONDS
        self._coming = {ref: (recruit, given_up) for ref, (recruit, _) in self._coming.items()}
        if len(classes := sorted({member.at.device_class for member in self._members})) > 1:
            raise UsageError(
                f"the cluster offers devices of several kinds, {' and '.join(classes)}, which round and clock "
                "differently; expected one kind: run on nodes of one kind"
            )

    def _welcome(self, seconds: float) -> None:
        """Take in the workers that have started; one on another kind of device than the first ones is dismissed."""
        if not self._coming:
            return
        ready, _ = ray.wait(list(self._coming), num_returns=1, timeout=seconds)
        for ref in ready:
            recruit, _ = self._coming.pop(ref)
            try:
                member = _Member(recruit, ray.get(ref))
            except ray.exceptions.RayError as error:
                self._trouble = " ".join(str(error).split())[-400:]
                continue
            if getattr(self, "device_class", member.at.device_class) != member.at.device_class:
                self._say(f"a worker on {member.at.device_class} is left out; this run measures {self.device_class}")
                ray.kill(recruit)
                continue
            self._members.append(member)
        for ref, (recruit, until) in list(self._coming.items()):
            if time.monotonic() > until:
                del self._coming[ref]
                ray.kill(recruit)

    def _idle_members(self, exclusive: bool) -> list[_Member]:
        """Return the members that are free, or free on nodes where nothing runs."""
        free = [m for m in self._members if m.running is None]
        if not exclusive:
            return free
        busy = {m.at.node for m in self._members if m.running is not None}
        return [m for m in free if m.at.node not in busy]

    def _free_members(self, task: Task) -> list[_Member]:
        free = self._idle_members(task.exclusive)
        if len(free) < task.ranks:
            raise UsageError(f"{task.label} needs {task.ranks} devices at once; the cluster offers {self.size()}")
        nodes = [m.at.node for m in free]
        free.sort(key=lambda m: -nodes.count(m.at.node))  # a group of ranks shares a node where one can hold it
        return free[: task.ranks]

    def _all_running(self) -> list[_Running]:
        found = {id(m.running): m.running for m in self._members if m.running is not None}
        return list(found.values())

    def _listen(self, running: _Running, stream: Any) -> None:
        """Take one event of one rank's stream; only rank 0 is heard, but the failure of any rank is the task's."""
        leader = stream is running.streams[0]
        node = running.members[0].at.node
        try:
            ref = next(stream)
            event = ray.get(ref)
        except StopIteration:
            running.streams.remove(stream)
            if leader:
                self._end(running, Failure("no-result", f"{running.task.label} ended without a result"))
            return
        except ray.exceptions.RayTaskError as error:
            self._end(running, self._judged(running, stream, error))
            return
        except ray.exceptions.RayError as error:
            self._end(running, Failure("worker-died", _death(running.task, error), lost=True))
            return
        if not leader:
            return
        if isinstance(event, Result):
            self._release(running)
        self._happened.append(TaskEvent(running.task, event, handle=ref, node=node))

    def _judged(self, running: _Running, stream: Any, error: Any) -> Failure:
        """Return what a rank's exception means: its own failure, lost inputs, or the death of another rank."""
        cause = error.cause if error.cause is not None else error
        if isinstance(cause, ray.exceptions.ObjectLostError):
            return Failure("inputs-lost", f"what {running.task.label} needs was lost with the node that held it")
        until = time.monotonic() + _FATE_SECONDS
        others = [s for s in running.streams if s is not stream]
        while others and time.monotonic() < until:
            ready, _ = ray.wait(others, num_returns=1, timeout=max(until - time.monotonic(), 0.0))
            for other in ready:
                try:
                    ray.get(next(other))
                except ray.exceptions.RayTaskError:
                    others.remove(other)
                except StopIteration:
                    others.remove(other)
                except ray.exceptions.RayError as death:
                    return Failure("worker-died", _death(running.task, death), lost=True)
        return failure_of(cause)

    def _end(self, running: _Running, failure: Failure) -> None:
        """Report a failure; ranks share fate, so a group, or a worker that is gone, is replaced as a whole."""
        self._release(running)
        node = running.members[0].at.node
        if failure.lost or failure.kind == "out-of-memory" or running.task.ranks > 1:
            self._replace(running.members)
        self._happened.append(TaskEvent(running.task, failure, node=node))

    def _expire(self) -> None:
        for running in self._all_running():
            if time.monotonic() > running.deadline:
                limit = running.task.deadline_seconds
                stacks = [_stack(m.at) for m in running.members]
                note = f"; it was in {stacks[0]}" if stacks[0] else ""
                sentence = f"{running.task.label} did not end within its deadline of {limit:g} s and was killed{note}"
                self._end(running, Failure("timeout", sentence, lost=True))

    def _release(self, running: _Running) -> None:
        for member in running.members:
            if member.running is running:
                member.running = None

    def _replace(self, members: list[_Member]) -> None:
        """Dismiss these members and all who were lost with their node; hire anew for what devices are left."""
        self._cluster.insist()
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        lost = [m for m in self._members if m.running is None and m.at.node not in alive]
        for member in (*members, *lost):
            ray.kill(member.actor)
            if member in self._members:
                self._members.remove(member)
        self._hire()


def _death(task: Task, error: BaseException) -> str:
    return f"the worker died during {task.label}{_how(error)}"


def _how(error: BaseException) -> str:
    """Return how a worker ended, as far as Ray tells: out of memory, an exit code, or the like of a signal."""
    text = " ".join(str(error).split())
    if isinstance(error, ray.exceptions.OutOfMemoryError) or "running low on memory" in text:
        return " (out of memory)"
    if code := re.search(r"exit code[ =](-?\d+)", text):
        return f" (exit code {code[1]})"
    if "End of file" in text or "connection error code" in text:
        return " (its process is gone, as after a signal)"
    return ""


def _stack(at: Whereabouts) -> str | None:
    """Return the innermost frames of a worker on this machine, by py-spy, which Ray brings along; None elsewhere."""
    if at.node != ray.get_runtime_context().get_node_id():
        return None
    spy = shutil.which("py-spy") or str(Path(sys.executable).parent / "py-spy")
    try:
        dump = subprocess.run([spy, "dump", "--pid", str(at.pid)], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    frames = [line.strip() for line in dump.stdout.splitlines() if line.startswith("    ")]
    return " < ".join(frames[:3]) or None
