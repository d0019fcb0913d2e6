"""The pool on Ray: one actor per device, whole devices only, on a cluster or on this machine.

Units are streaming generators of the actor, so progress and checkpoints reach the driver as they come. An actor that
dies is replaced in the background; what it ran is reported as lost and is the driver's to retry. A unit past its
deadline is killed. A cluster that is gone ends the run: nothing of it is needed to go on elsewhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray

from harness.errors import HarnessError, UsageError
from harness.pools.actor import WorkerInfo, WorkerSlot
from harness.pools.actor_set import ActorSet
from harness.pools.background import Background
from harness.pools.cluster import Cluster, connect
from harness.pools.deaths import deadline_passed, inputs_lost, read_stack, worker_died
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


@dataclass(eq=False)
class _Run:
    """A unit on its workers."""

    unit: Unit
    inputs: Mapping[str, Any]
    slots: list[WorkerSlot]
    deadline: float
    awaited: list[Any] = field(default_factory=list)
    """The streams of its ranks, or at first the answer with their port."""
    leader: Any = None
    limit: float = 0.0
    """When it is ended as `at_limit` says, or if that is None for its deadline."""
    at_limit: Failure | None = None
    is_dropped: bool = False


class RayPool:
    """All whole devices of a cluster as workers."""

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        progress_seconds: float = WORKER_PROGRESS_SECONDS,
    ) -> None:
        """Join a cluster or start one.

        `workers` limits how many are asked for, and a unit tells progress not more often than every so many seconds.
        """
        self._own = connect(address)
        self._events: list[TaskEvent] = []
        self._awaited: dict[Any, Callable[[], None]] = {}
        self._specs: dict[str, tuple[Spec, Any]] = {}
        self._running: dict[_Run, None] = {}
        """Runs that are awaited, in the order in which they were started."""
        self._runs_of: dict[str, list[_Run]] = {}
        """Runs of each unit, by its key, in that order too; those included that are being ended."""
        self._checked = 0.0
        self._node = ray.get_runtime_context().get_node_id()
        self._cluster = Cluster()
        self._background = Background()
        self._actors = ActorSet(self._cluster, self._background, self._awaited, workers, progress_seconds)
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

    def reserve(self, hosts: int) -> None:
        self._actors.hosts.reserve(hosts)

    def idle(self, exclusive: bool = False) -> int:
        if exclusive and self._actors.any_starting():
            return 0  # nobody knows yet on which host it imports, for seconds on all its cores
        return self._actors.hosts.idle(exclusive)

    def limit(self, workers: int | None) -> None:
        """Let no more than so many workers take units from now on, as if there were no others; None: all again."""
        self._actors.limit(workers)

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that have started."""
        return [slot.info for slot in self._actors.hosts]

    def workers_of(self, unit: Unit) -> list[WorkerInfo]:
        """Return the workers that run a unit, rank by rank; those of its first run if there are more."""
        return [slot.info for run in self._runs_of.get(unit.key, [])[:1] for slot in run.slots]

    def running(self) -> list[Unit]:
        """Return what runs, in the order in which it was started."""
        return [run.unit for run in self._running]

    def start(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        task = unit.task
        slots = self._actors.hosts.take(task.ranks, task.exclusive, task.id)
        if not slots:
            raise UsageError(f"{unit.label} needs {task.ranks} devices at once; the cluster offers {self.size()}")
        _LOG.debug("%s starts on %s", unit.label, ", ".join(slot.info.place for slot in slots))
        now = time.monotonic()
        run = _Run(unit, inputs, slots, deadline=now + task.deadline_seconds)
        self._running[run] = None
        self._runs_of.setdefault(unit.key, []).append(run)
        if task.ranks == 1:
            self._start_ranks(run, port=0)
            return
        answer = slots[0].actor.free_port.remote()
        run.limit, run.at_limit = now + START_SECONDS, worker_died(unit, TimeoutError())
        self._await(run, answer, self._take_port)

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
            self._cluster.check()
            self._background.finish()
            self._end_overdue()
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
            return  # to take leave of a cluster that is gone can take a minute
        self._actors.close()
        if self._own:
            ray.shutdown()

    def _collect(self, seconds: float) -> None:
        """Wait for what is awaited, a part of these seconds; do what follows from all that is there."""
        seconds = min(seconds, RAY_BUSY_SECONDS if self._background.busy else RAY_WAIT_SECONDS)
        if not self._awaited:
            self._background.finish(seconds)
            return
        awaited = list(self._awaited)
        ready, others = ray.wait(awaited, num_returns=1, timeout=seconds)  # with its value, so that nothing blocks
        if ready and others:
            more, _ = ray.wait(others, num_returns=len(others), timeout=0)
            ready += more
        for found in ready:
            if (follow := self._awaited.get(found)) is not None:  # what came before it may have ended its run
                follow()

    def _await(self, run: _Run, thing: Any, then: Callable[[_Run, Any], None]) -> None:
        run.awaited.append(thing)
        self._awaited[thing] = partial(then, run, thing)

    def _await_no_more(self, run: _Run, thing: Any) -> None:
        run.awaited.remove(thing)
        del self._awaited[thing]

    def _take_port(self, run: _Run, answer: Any) -> None:
        self._await_no_more(run, answer)
        try:
            port = ray.get(answer)
        except ray.exceptions.RayError as error:
            self._fail(run, worker_died(run.unit, error))
        else:
            self._start_ranks(run, port)

    def _start_ranks(self, run: _Run, port: int) -> None:
        task, address = run.unit.task, run.slots[0].info.address
        spec, inputs = self._stored(task), dict(run.inputs)
        run.inputs = {}
        run.limit, run.at_limit = run.deadline, None
        for rank, slot in enumerate(run.slots):
            ranks = Ranks(rank, task.ranks, address, port, task.deadline_seconds)
            stream = slot.actor.run.options(num_returns="streaming").remote(spec, inputs, run.unit.span, ranks)
            self._await(run, stream, self._take_event)
        run.leader = run.awaited[0]

    def _stored(self, task: Task) -> Any:
        """Return what stands for a task's spec: one that many units share is put into Ray's store once."""
        if task.unit_count == 1:
            return task.spec
        known = self._specs.get(task.id)
        if known is None or known[0] is not task.spec:
            known = self._specs[task.id] = task.spec, ray.put(task.spec)
        return known[1]

    def _take_event(self, run: _Run, stream: Any) -> None:
        """Take one event of one rank's stream; only rank 0 is heard, but the failure of any rank is the unit's."""
        is_leader = stream is run.leader
        try:
            ref = next(stream)
            event = ray.get(ref)
        except StopIteration:
            self._await_no_more(run, stream)
            if run.at_limit is not None:
                self._conclude_complaint(run)
            elif is_leader:
                self._fail(run, Failure("no-result", f"{run.unit.label} ended without a result"))
            return
        except ray.exceptions.RayTaskError as error:
            self._await_no_more(run, stream)
            self._classify_failure(run, error)
            return
        except ray.exceptions.RayError as error:
            self._fail(run, worker_died(run.unit, error))
            return
        if not is_leader or run.at_limit is not None:
            return
        if isinstance(event, Result):
            self._forget(run)
            self._actors.release(run.slots)
        self._events.append(TaskEvent(run.unit, event, ref=ref, node=run.slots[0].info.node))

    def _classify_failure(self, run: _Run, error: Any) -> None:
        """Take a rank's exception: lost inputs, or its own failure unless the death of another rank shows soon."""
        cause = error.cause if error.cause is not None else error
        if isinstance(cause, ray.exceptions.ObjectLostError):
            self._fail(run, inputs_lost(run.unit))
            return
        if run.at_limit is None:
            run.limit, run.at_limit = time.monotonic() + PEER_DEATH_WAIT_SECONDS, failure_of(cause)
        self._conclude_complaint(run)

    def _conclude_complaint(self, run: _Run) -> None:
        """Report what a rank has complained of if no other rank is left that may have died."""
        if not run.awaited and run.at_limit is not None:
            self._fail(run, run.at_limit)

    def _end_overdue(self) -> None:
        """End what runs past its limit; a unit past its deadline with the place where it was."""
        now = time.monotonic()
        if now - self._checked < CHECK_OVERDUE_SECONDS:
            return
        self._checked = now
        self._actors.look_after()
        for run in [run for run in self._running if now > run.limit]:
            if run.at_limit is not None:
                self._fail(run, run.at_limit)
            else:
                self._stop_awaiting(run)
                look = partial(read_stack, run.slots[0].info, self._node)
                self._background.submit(look, partial(self._kill_overdue, run))

    def _kill_overdue(self, run: _Run, stack: str | None) -> None:
        self._fail(run, deadline_passed(run.unit, stack))

    def _fail(self, run: _Run, failure: Failure) -> None:
        """Report a failure; ranks share fate, so a group, or a worker that is gone, is replaced as a whole."""
        self._stop_awaiting(run)
        report = partial(self._report, run, failure)
        if failure.lost or failure.kind == "out-of-memory" or run.unit.task.ranks > 1:
            self._actors.replace(run.slots, report)
        else:
            self._actors.release(run.slots)
            report()

    def _report(self, run: _Run, failure: Failure) -> None:
        if not run.is_dropped:
            self._forget(run)
            self._events.append(TaskEvent(run.unit, failure, node=run.slots[0].info.node))

    def _stop_awaiting(self, run: _Run) -> None:
        for thing in run.awaited:
            del self._awaited[thing]
        run.awaited.clear()
        self._running.pop(run, None)

    def _forget(self, run: _Run) -> None:
        self._stop_awaiting(run)
        runs = self._runs_of[run.unit.key]
        runs.remove(run)
        if not runs:
            del self._runs_of[run.unit.key]
