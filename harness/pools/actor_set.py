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

from harness.errors import HarnessError
from harness.pools.actor import WorkerActor, WorkerInfo, WorkerSlot
from harness.pools.background import Background
from harness.pools.cluster import Cluster
from harness.pools.cluster_devices import Placement, read_cluster_devices
from harness.pools.deaths import describe_lost_start
from harness.pools.device_choice import DeviceChoice, DeviceUse, check_one_class, no_such_device
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
    """One worker per whole device of one class of the cluster, at most `most` of them.

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
        choice: DeviceChoice,
    ) -> None:
        self.hosts: Hosts[WorkerSlot] = Hosts()
        self.device_class = ""
        self.trouble = "the cluster offers no free device; expected at least one whole CPU or GPU"

        # what it works with
        self._cluster = cluster
        self._background = background
        self._awaited = awaited
        counts = [count for count in (most, choice.gpus) if count]
        self._most = min(counts) if counts else None
        self._choice = choice
        self._progress_seconds = progress_seconds

        # actors on their way in or out
        self._starting: dict[Any, tuple[Any, float]] = {}
        """Actors that were created, each with the time after which it is given up."""
        self._leaving: list[tuple[list[WorkerSlot], Callable[[], None]]] = []
        self._is_replacing = False
        self._created = self._refilled = time.monotonic()
        self._refills_due: list[float] = []
        """When to look for lost nodes, by `time.monotonic`."""
        self._lost_node = False
        """Whether the latest actor that did not start was lost with its node."""

        # workers that may not be used
        self._limit: int | None = None
        self._unused: list[WorkerSlot] = []
        """Workers beyond the limit."""

        # devices
        self._devices = read_cluster_devices()
        self._placement = Placement(self._devices.kind)
        self._left_out: frozenset[str] = frozenset()
        """Nodes with devices of another class than the one that is measured."""
        self._other_classes: dict[str, int] = {}
        """Devices that were left out, by class."""

    def size(self) -> int:
        """Return the number of usable workers, with those that start or are being replaced."""
        present = self._count_present()
        return present if self._limit is None else min(present, self._limit)

    def any_starting(self) -> bool:
        """Tell whether a worker created within the last `IMPORT_SECONDS` has not started yet."""
        return bool(self._starting) and time.monotonic() - self._created < IMPORT_SECONDS

    def start(self) -> WorkerInfo:
        """Create all workers; return the first.

        Blocks up to `START_SECONDS` for all, then until one has started. Raises UsageError for a choice that the
        cluster does not offer, and for devices of several classes without a choice.
        """
        self._choice.check_count(self._devices.kind, self._devices.total, "the cluster")
        self._create_close()
        left_out = self._left_out

        # wait; the start of a process may import modules for minutes
        began = reported = time.monotonic()
        while self._starting and (not self.hosts or time.monotonic() - began < START_SECONDS):
            ready, _ = ray.wait(list(self._starting), num_returns=1, timeout=START_POLL_SECONDS)
            for ref in ready:
                self._collect_started(ref)
            if not self._starting and self._misses_workers(left_out, began):
                left_out = self._left_out
                self._create_close()
            self._cluster.raise_if_gone()
            if time.monotonic() - reported >= START_REPORT_SECONDS:
                reported = time.monotonic()
                missing, waited = len(self._starting), reported - began
                _LOG.info("%d workers have started, waiting for %.0f s for %d more", len(self.hosts), waited, missing)

        return self._begin()

    def _misses_workers(self, left_out: frozenset[str], began: float) -> bool:
        """Tell whether workers were on devices of another class, or all were lost early on with their nodes."""
        was_lost, self._lost_node = self._lost_node, False
        is_early = time.monotonic() - began < START_SECONDS
        return self._left_out != left_out or (was_lost and not self.hosts and is_early)

    def use(self) -> DeviceUse:
        """Return what is taken of the cluster's devices."""
        usable = self._devices.without(self._left_out)
        return DeviceUse(
            kind=self._devices.kind,
            name=self.device_class.partition(":")[2],
            taken=self.size(),
            total=self._devices.total,
            nodes=self.hosts.count(),
            all_nodes=len(self._devices.by_node),
            usable=usable.total,
            usable_nodes=len(usable.by_node),
            others={one.partition(":")[2]: count for one, count in self._other_classes.items()},
        )

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
        self._placement.release()

    def _begin(self) -> WorkerInfo:
        """Begin with the workers that have started; return the first."""
        if not self.hosts and self._other_classes:
            raise no_such_device(self._choice, self._other_classes)
        if not self.hosts:
            raise HarnessError(f"no worker started: {self.trouble}")
        check_one_class(slot.info.device_class for slot in self.hosts)

        given_up = time.monotonic() + START_SECONDS
        self._starting = {ref: (actor, given_up) for ref, (actor, _) in self._starting.items()}
        first = next(iter(self.hosts)).info
        self.device_class = first.device_class
        return first

    def _create_close(self) -> None:
        """Create the missing actors, close to each other where only a part of the devices is wanted."""
        if self._most is not None:
            for slot in list(self.hosts) if self._placement.is_reserved else ():  # they end with their group
                self.hosts.remove(slot)
            self._placement.reserve(self._most, self._devices, self._left_out)
        staying = [slot.info.node for slot in self.hosts]
        self._await_start(self._create_actors(staying, 0, self._left_out)[0], math.inf)

    def _count_present(self) -> int:
        return len(self.hosts) + len(self._unused) + len(self._starting)

    def _create_actors(
        self, staying: list[str], starting: int, left_out: frozenset[str]
    ) -> tuple[dict[Any, Any], frozenset[str]]:
        """Create an actor for each device that has none; return them with the nodes that live.

        `staying` are the nodes of the workers that stay; `starting` counts those on their way.
        """
        devices = read_cluster_devices(self._devices.kind)
        nodes = frozenset(devices.by_node)
        staying = [node for node in staying if node in nodes]
        usable = devices.without(left_out).total + sum(node in left_out for node in staying)
        wanted = min(usable, self._most) if self._most else usable

        kind: Any = WorkerActor
        options = self._placement.options(left_out)
        missing = wanted - len(staying) - starting
        actors = [kind.options(**options).remote(self._progress_seconds) for _ in range(missing)]
        return {actor.info.remote(): actor for actor in actors}, nodes

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
            self.trouble, self._lost_node = describe_lost_start(error)
            return
        if self.device_class not in ("", slot.info.device_class) or not self._choice.matches(slot.info.device_class):
            self._leave_out(slot)
            return
        self.hosts.add(slot, slot.info.node)
        self._keep_limit()

    def _leave_out(self, slot: WorkerSlot) -> None:
        """Kill a worker on a device of another class, and create no more on its node, nor on nodes like it."""
        other = slot.info.device_class
        if self.device_class and other not in self._other_classes:
            _LOG.warning("a worker on %s is left out; this run measures %s", other, self.device_class)
        self._other_classes[other] = self._other_classes.get(other, 0) + 1
        own = {worker.info.node for worker in (*self.hosts, *self._unused)}
        self._left_out |= {slot.info.node, *(self._devices.alike(slot.info.node) - own)}
        self._kill(slot.actor)

    def _start_replacing(self) -> None:
        batch, self._leaving = self._leaving, []
        self._is_replacing, self._refilled = True, time.monotonic()
        gone = {slot for slots, _ in batch for slot in slots}
        staying = [slot.info.node for slot in (*self.hosts, *self._unused) if slot not in gone]
        actors = [slot.actor for slot in gone]
        exchange = partial(self._exchange, actors, staying, len(self._starting), self._left_out)
        self._background.submit(exchange, partial(self._end_replacing, batch))

    def _exchange(self, actors: list[Any], staying: list[str], starting: int, left_out: frozenset[str]) -> _Change:
        """Kill actors and create the missing ones.

        Runs in the background; HarnessError if the cluster is gone.
        """
        self._cluster.check_alive()
        for actor in actors:
            ray.kill(actor)
        return _Change(*self._create_actors(staying, starting, left_out))

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
