"""The pool on Ray: one actor per device, whole devices only, on a cluster or on this machine.

A unit is a streaming generator of its actor, so progress and checkpoints reach the driver as they
come. A dead actor is replaced in the background; its unit is reported as lost, and the driver
tries it again. A unit past its deadline is killed. A lost cluster ends the run, which can continue
on any other cluster.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray

from harness.errors import HarnessError, UsageError
from harness.pools.actor import WorkerInfo, WorkerSlot
from harness.pools.actor_set import ActorSet
from harness.pools.background import Background
from harness.pools.cluster import Cluster, connect, disconnect
from harness.pools.deaths import deadline_passed, inputs_lost, read_stack, worker_died
from harness.pools.device_choice import ALL_DEVICES, DeviceChoice, DeviceUse
from harness.pools.local import failure_of
from harness.specs.base import Spec
from harness.specs.limits import (
    CHECK_OVERDUE_SECONDS,
    PEER_DEATH_WAIT_SECONDS,
    RAY_BUSY_SECONDS,
    RAY_WAIT_SECONDS,
    START_SECONDS,
    WORKER_PROGRESS_SECONDS,
)
from harness.task import Failure, Ranks, Result, Task, TaskEvent, Unit

_LOG = logging.getLogger("oneclock.pools.ray")
REPLACES_WORKER = ("out-of-memory", "tampered", "folder-gone")
"""Kinds of failure after which a process may not be as a fresh one."""
_AT_ONCE = 8
"""Ends that one poll takes at most: where a hundred units end together, the first workers start again meanwhile."""


@dataclass(eq=False)
class _Run:
    """One run of a unit on its workers."""

    unit: Unit
    inputs: Mapping[str, Any]
    slots: list[WorkerSlot]
    deadline: float
    awaited: list[Any] = field(default_factory=list)
    """The streams of its ranks; before that, the reference to their port."""
    leader: Any = None
    """The stream of rank 0."""
    limit: float = 0.0
    """When it is ended, by `time.monotonic`: with `at_limit`, or if None for its deadline."""
    at_limit: Failure | None = None
    is_dropped: bool = False


class RayPool:
    """All whole devices of a cluster as workers, each an actor. See `Pool` for its methods."""

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        progress_seconds: float = WORKER_PROGRESS_SECONDS,
        choice: DeviceChoice = ALL_DEVICES,
    ) -> None:
        """Join a cluster or start one, and wait for its workers; blocks for up to minutes.

        `workers` limits their number, `choice` says of which devices. A unit reports progress at most every
        `progress_seconds`.
        """
        self._owns_ray = connect(address)

        # what runs and what is awaited
        self._events: list[TaskEvent] = []
        self._awaited: dict[Any, Callable[[], None]] = {}
        self._specs: dict[str, tuple[Spec, Any]] = {}
        self._running: dict[_Run, None] = {}
        """Runs that are awaited, in the order of their start."""
        self._runs_of: dict[str, list[_Run]] = {}
        """Runs of each unit, by its key, in that order; including those that are being ended."""
        self._spread: set[str] = set()
        """Tasks whose ranks were on several nodes."""
        self._checked = 0.0

        # the cluster and its actors
        self._node = ray.get_runtime_context().get_node_id()
        self._cluster = Cluster()
        self._background = Background()
        self._actors = ActorSet(self._cluster, self._background, self._awaited, workers, progress_seconds, choice)
        try:
            first = self._actors.start()
        except BaseException:
            self.close()
            raise
        self.device_name, self.device_class = first.device_name, first.device_class

    def put(self, value: Any) -> Any:
        return ray.put(value)

    def size(self) -> int:
        return self._actors.size()

    def hosts(self) -> int:
        return max(self._actors.hosts.count(), 1)

    def reserve(self, hosts: int, devices: int = 1) -> None:
        self._actors.hosts.reserve(hosts, devices)

    def idle(self, exclusive: bool = False) -> int:
        if exclusive and self._actors.any_starting():
            return 0  # its host is unknown, and importing uses all cores there for seconds
        return self._actors.hosts.idle(exclusive)

    def has_loaded(self, networks: Sequence[str]) -> bool:
        return self._actors.hosts.has_loaded(networks)

    def limit(self, workers: int | None) -> None:
        """Let at most so many workers take units from now on, as if there were no others.

        None: all.
        """
        self._actors.limit(workers)

    def use(self) -> DeviceUse:
        """Return what this run takes of the devices that there are."""
        return self._actors.use()

    def describe_use(self, is_here: bool = False) -> str:
        """Return that in a sentence, in which the cluster is this machine or has an address."""
        host, port = self._cluster.endpoint
        return self.use().sentence("this machine" if is_here else f"the Ray cluster at {host}:{port}")

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that have started."""
        return [slot.info for slot in self._actors.hosts]

    def workers_of(self, unit: Unit) -> list[WorkerInfo]:
        """Return the workers of a unit's first run, rank by rank."""
        return [slot.info for run in self._runs_of.get(unit.key, [])[:1] for slot in run.slots]

    def running(self) -> list[Unit]:
        """Return the units that run, in the order of their start."""
        return [run.unit for run in self._running]

    def submit(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        task = unit.task
        slots = self._actors.hosts.take_workers(task.ranks, task.exclusive, task.id, task.networks)
        if not slots:
            raise UsageError(f"{unit.label} needs {task.ranks} devices at once; the cluster offers {self.size()}")
        _LOG.debug("%s starts on %s", unit.label, ", ".join(slot.info.place for slot in slots))
        self._say_if_spread(task, slots)

        # enter the run
        now = time.monotonic()
        run = _Run(unit, inputs, slots, deadline=now + task.deadline_seconds)
        self._running[run] = None
        self._runs_of.setdefault(unit.key, []).append(run)

        # ranks of a group need a port to meet at
        if task.ranks == 1:
            self._start_ranks(run, port=0)
            return
        port = slots[0].actor.free_port.remote()
        run.limit, run.at_limit = now + START_SECONDS, worker_died(unit, TimeoutError())
        self._await(run, port, self._take_port)

    def drop(self, unit: Unit) -> None:
        runs = self._runs_of.get(unit.key, [])
        if not runs:
            return
        run = runs[0]
        is_ending = run not in self._running
        run.is_dropped = True
        self._forget(run)
        if not is_ending:
            self._actors.replace(run.slots, lambda: None)

    def poll(self, seconds: float) -> list[TaskEvent]:
        until = time.monotonic() + seconds
        while True:
            self._cluster.raise_if_gone()
            self._background.finish()
            self._end_overdue()

            # nothing can come: wait out the time, or give up where no worker is left
            left = max(until - time.monotonic(), 0.0)
            if not self._awaited and not self._background.busy:
                if self._actors.size() == 0 and not self._events:
                    raise HarnessError(f"no worker is left: {self._actors.trouble}")
                time.sleep(0.0 if self._events else left)
                break

            self._collect(0.0 if self._events else left)
            if self._events or left == 0:
                break
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        self._awaited.clear()
        self._running.clear()
        self._runs_of.clear()
        self._background.close()
        self._cluster.close()
        if self._cluster.gone:
            return  # disconnecting from a lost cluster can take a minute
        self._actors.close()
        if self._owns_ray:
            disconnect()

    def _say_if_spread(self, task: Task, slots: list[WorkerSlot]) -> None:
        """Say once of a task whose ranks are on several nodes that they are."""
        nodes = len({slot.info.node for slot in slots})
        if nodes > 1 and task.id not in self._spread:
            self._spread.add(task.id)
            _LOG.info(
                "%s runs on %d devices of %d nodes: no node has as many of this run's devices free, so its ranks "
                "exchange states between nodes",
                task.label,
                len(slots),
                nodes,
            )

    def _collect(self, seconds: float) -> None:
        """Wait a part of these seconds for an awaited reference.

        Run the callbacks of all that are ready.
        """
        seconds = min(seconds, RAY_BUSY_SECONDS if self._background.busy else RAY_WAIT_SECONDS)
        if not self._awaited:
            self._background.finish(seconds)
            return
        awaited = list(self._awaited)
        ready, others = ray.wait(awaited, num_returns=1, timeout=seconds)  # fetches values too, so that no get blocks
        if ready and others:
            more, _ = ray.wait(others, num_returns=min(len(others), _AT_ONCE - 1), timeout=0)
            ready += more
        for found in ready:
            if (callback := self._awaited.get(found)) is not None:  # an earlier one may have ended its run
                callback()

    def _await(self, run: _Run, ref: Any, then: Callable[[_Run, Any], None]) -> None:
        run.awaited.append(ref)
        self._awaited[ref] = partial(then, run, ref)

    def _stop_awaiting(self, run: _Run, ref: Any) -> None:
        run.awaited.remove(ref)
        del self._awaited[ref]

    def _take_port(self, run: _Run, ref: Any) -> None:
        self._stop_awaiting(run, ref)
        try:
            port = ray.get(ref)
        except ray.exceptions.RayError as error:
            self._fail(run, worker_died(run.unit, error))
        else:
            self._start_ranks(run, port)

    def _start_ranks(self, run: _Run, port: int) -> None:
        task, address = run.unit.task, run.slots[0].info.address
        spec, inputs = self._put_spec(task), dict(run.inputs)
        run.inputs = {}
        run.limit, run.at_limit = run.deadline, None
        for rank, slot in enumerate(run.slots):
            ranks = Ranks(rank, task.ranks, address, port, task.deadline_seconds)
            stream = slot.actor.run.options(num_returns="streaming").remote(spec, inputs, run.unit.span, ranks)
            self._await(run, stream, self._take_event)
        run.leader = run.awaited[0]

    def _put_spec(self, task: Task) -> Any:
        """Return a task's spec, for several units as a reference in Ray's store."""
        if task.unit_count == 1:
            return task.spec
        known = self._specs.get(task.id)
        if known is None or known[0] is not task.spec:
            known = self._specs[task.id] = task.spec, ray.put(task.spec)
        return known[1]

    def _take_event(self, run: _Run, stream: Any) -> None:
        """Take one event of a rank's stream.

        Only rank 0 reports events; the failure of any rank fails the unit.
        """
        is_leader = stream is run.leader
        try:
            ref = next(stream)
            event = ray.get(ref)

        # the stream has ended, or its rank has failed or died
        except StopIteration:
            self._stop_awaiting(run, stream)
            if run.at_limit is not None:
                self._report_peer_failure(run)
            elif is_leader:
                self._fail(run, Failure("no-result", f"{run.unit.label} ended without a result"))
            return
        except ray.exceptions.RayTaskError as error:
            self._stop_awaiting(run, stream)
            self._classify_failure(run, error)
            return
        except ray.exceptions.RayError as error:
            self._fail(run, worker_died(run.unit, error))
            return

        # an event of rank 0
        if not is_leader or run.at_limit is not None:
            return
        if isinstance(event, Result):
            self._forget(run)
            self._actors.release(run.slots)
        self._events.append(TaskEvent(run.unit, event, ref=ref, node=run.slots[0].info.node))

    def _classify_failure(self, run: _Run, error: Any) -> None:
        """Classify a rank's exception: lost inputs, or its own unless another rank dies soon."""
        cause = error.cause if error.cause is not None else error
        if isinstance(cause, ray.exceptions.ObjectLostError):
            self._fail(run, inputs_lost(run.unit))
            return
        if run.at_limit is None:
            run.limit, run.at_limit = time.monotonic() + PEER_DEATH_WAIT_SECONDS, failure_of(cause)
        self._report_peer_failure(run)

    def _report_peer_failure(self, run: _Run) -> None:
        """Report the failure of a rank once no other rank is left that may have died."""
        if not run.awaited and run.at_limit is not None:
            self._fail(run, run.at_limit)

    def _end_overdue(self) -> None:
        """End runs past their limit; for one past its deadline read the stack first."""
        now = time.monotonic()
        if now - self._checked < CHECK_OVERDUE_SECONDS:
            return
        self._checked = now
        self._actors.refresh()
        for run in [run for run in self._running if now > run.limit]:
            if run.at_limit is not None:
                self._fail(run, run.at_limit)
            else:
                self._stop_awaiting_run(run)
                read = partial(read_stack, run.slots[0].info, self._node)
                self._background.submit(read, partial(self._kill_overdue, run))

    def _kill_overdue(self, run: _Run, stack: str | None) -> None:
        self._fail(run, deadline_passed(run.unit, stack))

    def _fail(self, run: _Run, failure: Failure) -> None:
        """Report a failure.

        A group fails as a whole, so all its workers are replaced, as is a lost worker and one whose
        process a method changed.
        """
        self._stop_awaiting_run(run)
        report = partial(self._report, run, failure)
        if failure.lost or failure.kind in REPLACES_WORKER or run.unit.task.ranks > 1:
            self._actors.replace(run.slots, report)
        else:
            self._actors.release(run.slots)
            report()

    def _report(self, run: _Run, failure: Failure) -> None:
        if not run.is_dropped:
            self._forget(run)
            self._events.append(TaskEvent(run.unit, failure, node=run.slots[0].info.node))

    def _stop_awaiting_run(self, run: _Run) -> None:
        for ref in run.awaited:
            del self._awaited[ref]
        run.awaited.clear()
        self._running.pop(run, None)

    def _forget(self, run: _Run) -> None:
        self._stop_awaiting_run(run)
        runs = self._runs_of[run.unit.key]
        runs.remove(run)
        if not runs:
            del self._runs_of[run.unit.key]
