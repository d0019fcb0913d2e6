"""The actors of a pool on Ray, one per device: creates, awaits and replaces them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray

from harness.errors import HarnessError, UsageError
from harness.pools.actor import WorkerActor, WorkerInfo, WorkerSlot
from harness.pools.background import Background
from harness.pools.cluster import Cluster
from harness.pools.hosts import Hosts
from harness.specs.limits import (
    IMPORT_SECONDS,
    REFILL_AFTER_DEATH_SECONDS,
    REFILL_SECONDS,
    START_POLL_SECONDS,
    START_REPORT_SECONDS,
    START_SECONDS,
)

_LOG = logging.getLogger("oneclock.pools.actor_set")


@dataclass(frozen=True)
class _Change:
    """New actors, by the reference that is ready once they have started, and the living nodes."""

    created: dict[Any, Any]
    nodes: frozenset[str]


class ActorSet:
    """One worker per whole device of the cluster, at most `most` of them.

    Used by `RayPool` in the driver's thread. `start` and `close` block; nothing else does. A
    reference that Ray will make ready is entered into `awaited`, with the callback for it.
    """

    def __init__(
        self,
        cluster: Cluster,
        background: Background,
        awaited: dict[Any, Callable[[], None]],
        most: int | None,
        progress_seconds: float,
    ) -> None:
        self.hosts: Hosts[WorkerSlot] = Hosts()
        self.device_class = ""
        self.trouble = "the cluster offers no free device; expected at least one whole CPU or GPU"

        # what it works with
        self._cluster = cluster
        self._background = background
        self._awaited = awaited
        self._most = most
        self._progress_seconds = progress_seconds

        # actors on their way in or out
        self._starting: dict[Any, tuple[Any, float]] = {}
        """Actors that were created, each with the time after which it is given up."""
        self._leaving: list[tuple[list[WorkerSlot], Callable[[], None]]] = []
        self._is_replacing = False
        self._created = self._refilled = time.monotonic()
        self._refills_due: list[float] = []
        """When to look for lost nodes, by `time.monotonic`."""

        # workers that may not be used
        self._limit: int | None = None
        self._unused: list[WorkerSlot] = []
        """Workers beyond the limit."""
        self._device = "CPU"

    def size(self) -> int:
        """Return the number of usable workers, with those that start or are being replaced."""
        present = self._count_present()
        return present if self._limit is None else min(present, self._limit)

    def any_starting(self) -> bool:
        """Tell whether a worker created within the last `IMPORT_SECONDS` has not started yet."""
        return bool(self._starting) and time.monotonic() - self._created < IMPORT_SECONDS

    def start(self) -> WorkerInfo:
        """Create all workers; return the first.

        Blocks up to `START_SECONDS` for all, then until one has started.
        """
        self._device = "GPU" if ray.cluster_resources().get("GPU", 0) else "CPU"
        self._await_start(self._create_actors(0), math.inf)

        # wait; the start of a process may import modules for minutes
        began = reported = time.monotonic()
        while self._starting and (not self.hosts or time.monotonic() - began < START_SECONDS):
            ready, _ = ray.wait(list(self._starting), num_returns=1, timeout=START_POLL_SECONDS)
            for ref in ready:
                self._collect_started(ref)
            self._cluster.raise_if_gone()
            if time.monotonic() - reported >= START_REPORT_SECONDS:
                reported = time.monotonic()
                missing, waited = len(self._starting), reported - began
                _LOG.info("%d workers have started, waiting for %.0f s for %d more", len(self.hosts), waited, missing)

        # begin with those that have started
        if not self.hosts:
            raise HarnessError(f"no worker started: {self.trouble}")
        check_one_class(slot.info for slot in self.hosts)
        given_up = time.monotonic() + START_SECONDS
        self._starting = {ref: (actor, given_up) for ref, (actor, _) in self._starting.items()}
        first = next(iter(self.hosts)).info
        self.device_class = first.device_class
        return first

    def release(self, slots: Iterable[WorkerSlot]) -> None:
        """Free workers whose unit has ended."""
        for slot in slots:
            self.hosts.release_worker(slot)
        self._keep_limit()

    def replace(self, slots: list[WorkerSlot], then: Callable[[], None]) -> None:
        """Kill workers in the background, create others on the devices left, then call `then`.

        Until then they count as present and busy. Workers lost with their node are removed too.
        """
        self._leaving.append((slots, then))
        self._refills_due = [time.monotonic() + seconds for seconds in REFILL_AFTER_DEATH_SECONDS]
        if not self._is_replacing:
            self._start_replacing()

    def limit(self, workers: int | None) -> None:
        """Let at most so many workers take units from now on; None: all."""
        self._limit = workers
        self._keep_limit()

    def refresh(self) -> None:
        """Give up actors that did not start in time.

        Look for lost nodes and new devices when due.
        """
        now = time.monotonic()
        is_due = now - self._refilled > REFILL_SECONDS or (self._refills_due and now >= self._refills_due[0])
        if is_due and not self._is_replacing:
            self._refills_due = [when for when in self._refills_due if when > now]
            self._start_replacing()
        for ref in [ref for ref, (_, until) in self._starting.items() if now > until]:
            actor, _ = self._starting.pop(ref)
            del self._awaited[ref]
            self._kill(actor)

    def close(self) -> None:
        """Kill all actors."""
        for actor in (*(slot.actor for slot in (*self.hosts, *self._unused)), *(a for a, _ in self._starting.values())):
            ray.kill(actor)

    def _count_present(self) -> int:
        return len(self.hosts) + len(self._unused) + len(self._starting)

    def _create_actors(self, present: int) -> dict[Any, Any]:
        """Create an actor for each device of the cluster beyond the `present` ones."""
        wanted = int(ray.cluster_resources().get(self._device, 0))
        wanted = min(wanted, self._most) if self._most else wanted
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": 1 if self._device == "GPU" else 0}
        kind: Any = WorkerActor
        actors = [kind.options(**options).remote(self._progress_seconds) for _ in range(wanted - present)]
        return {actor.info.remote(): actor for actor in actors}

    def _await_start(self, created: dict[Any, Any], until: float) -> None:
        if created:
            self._created = time.monotonic()
        for ref, actor in created.items():
            self._starting[ref] = actor, until
            self._awaited[ref] = partial(self._collect_started, ref)

    def _collect_started(self, ref: Any) -> None:
        """Add a started worker, unless its device is of another class than the first one's."""
        actor, _ = self._starting.pop(ref)
        del self._awaited[ref]
        try:
            slot = WorkerSlot(actor, ray.get(ref))
        except ray.exceptions.RayError as error:
            self.trouble = " ".join(str(error).split())[-400:]
            return
        if self.device_class not in ("", slot.info.device_class):
            other = slot.info.device_class
            _LOG.warning("a worker on %s is left out; this run measures %s", other, self.device_class)
            self._kill(actor)
            return
        self.hosts.add(slot, slot.info.node)
        self._keep_limit()

    def _start_replacing(self) -> None:
        batch, self._leaving = self._leaving, []
        self._is_replacing, self._refilled = True, time.monotonic()
        gone = {slot for slots, _ in batch for slot in slots}
        staying = [slot.info.node for slot in (*self.hosts, *self._unused) if slot not in gone]
        exchange = partial(self._exchange, [slot.actor for slot in gone], staying, len(self._starting))
        self._background.submit(exchange, partial(self._end_replacing, batch))

    def _exchange(self, actors: list[Any], staying: list[str], starting: int) -> _Change:
        """Kill actors and create the missing ones.

        Runs in the background; HarnessError if the cluster is gone.
        """
        self._cluster.check_alive()
        for actor in actors:
            ray.kill(actor)
        nodes = frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])
        return _Change(self._create_actors(starting + sum(node in nodes for node in staying)), nodes)

    def _end_replacing(self, batch: list[tuple[list[WorkerSlot], Callable[[], None]]], change: _Change) -> None:
        lost = [slot for slot in self.hosts if slot.info.node not in change.nodes and self.hosts.is_free(slot)]
        for slot in (*(slot for slots, _ in batch for slot in slots), *lost):
            if slot in self.hosts:
                self.hosts.remove(slot)
        self._unused = [slot for slot in self._unused if slot.info.node in change.nodes]

        # those that replace them
        self._await_start(change.created, time.monotonic() + START_SECONDS)
        self._keep_limit()
        self._is_replacing = False
        for _, then in batch:
            then()
        if self._leaving and not self._is_replacing:
            self._start_replacing()

    def _keep_limit(self) -> None:
        while self._unused and (self._limit is None or len(self.hosts) < self._limit):
            slot = self._unused.pop(0)
            self.hosts.add(slot, slot.info.node)
        if self._limit is None or len(self.hosts) <= self._limit:
            return

        # free workers beyond the limit, the last ones first
        beyond = [slot for slot in self.hosts if self.hosts.is_free(slot)][self._limit - len(self.hosts) :]
        for slot in beyond:
            self.hosts.remove(slot)
            self._unused.append(slot)

    def _kill(self, actor: Any) -> None:
        self._background.submit(partial(ray.kill, actor), lambda _: None)


def check_one_class(workers: Iterable[WorkerInfo]) -> None:
    """Raise UsageError for devices that differ: one run measures one class of device."""
    if len(classes := sorted({worker.device_class for worker in workers})) > 1:
        raise UsageError(
            f"the cluster offers devices of several kinds, {' and '.join(classes)}, which round and clock "
            "differently; expected one kind: run on nodes of one kind"
        )
