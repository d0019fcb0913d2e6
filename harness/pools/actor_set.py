"""The actors of a pool on Ray, one per device: created, awaited while they start, and replaced when they end."""

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
    """Actors that were created, by what tells that they have started, and the nodes that live."""

    created: dict[Any, Any]
    nodes: frozenset[str]


class ActorSet:
    """As many workers as the cluster has whole devices, or as many as are allowed.

    What is awaited of Ray is entered into `awaited`, with what is to be done when it is there.
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
        self._cluster = cluster
        self._background = background
        self._awaited = awaited
        self._most = most
        self._progress_seconds = progress_seconds
        self._starting: dict[Any, tuple[Any, float]] = {}
        """Actors that were created, with the time at which one that replaces another is given up."""
        self._leaving: list[tuple[list[WorkerSlot], Callable[[], None]]] = []
        self._is_replacing = False
        self._created = self._looked = time.monotonic()
        self._looks: list[float] = []
        """When to look for lost nodes."""
        self._limit: int | None = None
        self._unused: list[WorkerSlot] = []
        """Workers beyond the limit."""
        self._device = "CPU"

    def size(self) -> int:
        """Return the number of workers that may be used, those included that start or are being replaced."""
        there = self._present()
        return there if self._limit is None else min(there, self._limit)

    def any_starting(self) -> bool:
        """Tell whether a worker that was created not long ago has not come yet."""
        return bool(self._starting) and time.monotonic() - self._created < IMPORT_SECONDS

    def start(self) -> WorkerInfo:
        """Create all and wait for them for a while, then for the first; they may have to import for minutes."""
        self._device = "GPU" if ray.cluster_resources().get("GPU", 0) else "CPU"
        self._enter(self._create_actors(0), math.inf)
        began = told = time.monotonic()
        while self._starting and (not self.hosts or time.monotonic() - began < START_SECONDS):
            ready, _ = ray.wait(list(self._starting), num_returns=1, timeout=START_POLL_SECONDS)
            for ref in ready:
                self._collect_started(ref)
            self._cluster.check()
            if time.monotonic() - told >= START_REPORT_SECONDS:
                told = time.monotonic()
                missing, waited = len(self._starting), told - began
                _LOG.info("%d workers have started, waiting for %.0f s for %d more", len(self.hosts), waited, missing)
        if not self.hosts:
            raise HarnessError(f"no worker started: {self.trouble}")
        check_one_class(slot.info for slot in self.hosts)
        given_up = time.monotonic() + START_SECONDS
        self._starting = {ref: (actor, given_up) for ref, (actor, _) in self._starting.items()}
        first = next(iter(self.hosts)).info
        self.device_class = first.device_class
        return first

    def release(self, slots: Iterable[WorkerSlot]) -> None:
        """Make workers that have ended their unit free."""
        for slot in slots:
            self.hosts.release(slot)
        self._keep_limit()

    def replace(self, slots: list[WorkerSlot], then: Callable[[], None]) -> None:
        """Kill workers and create others for what devices are left; afterwards, call `then`.

        Until then they count as there and busy. Workers that were lost with their node go at the same time.
        """
        self._leaving.append((slots, then))
        self._looks = [time.monotonic() + seconds for seconds in REFILL_AFTER_DEATH_SECONDS]
        if not self._is_replacing:
            self._start_replacing()

    def limit(self, workers: int | None) -> None:
        """Let no more than so many workers take units from now on, or all again."""
        self._limit = workers
        self._keep_limit()

    def look_after(self) -> None:
        """Give up actors that should have started long ago; look for lost nodes and for devices that came back."""
        now = time.monotonic()
        is_due = now - self._looked > REFILL_SECONDS or (self._looks and now >= self._looks[0])
        if is_due and not self._is_replacing:
            self._looks = [when for when in self._looks if when > now]
            self._start_replacing()
        for ref in [ref for ref, (_, until) in self._starting.items() if now > until]:
            actor, _ = self._starting.pop(ref)
            del self._awaited[ref]
            self._kill(actor)

    def close(self) -> None:
        """Kill all."""
        for actor in (*(slot.actor for slot in (*self.hosts, *self._unused)), *(a for a, _ in self._starting.values())):
            ray.kill(actor)

    def _present(self) -> int:
        return len(self.hosts) + len(self._unused) + len(self._starting)

    def _create_actors(self, there: int) -> dict[Any, Any]:
        """Create what is missing to one actor per device of the cluster if so many are there."""
        wanted = int(ray.cluster_resources().get(self._device, 0))
        wanted = min(wanted, self._most) if self._most else wanted
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": 1 if self._device == "GPU" else 0}
        kind: Any = WorkerActor
        actors = [kind.options(**options).remote(self._progress_seconds) for _ in range(wanted - there)]
        return {actor.info.remote(): actor for actor in actors}

    def _enter(self, created: dict[Any, Any], until: float) -> None:
        if created:
            self._created = time.monotonic()
        for ref, actor in created.items():
            self._starting[ref] = actor, until
            self._awaited[ref] = partial(self._collect_started, ref)

    def _collect_started(self, ref: Any) -> None:
        """Take in a worker that has started; one on another class of device than the first ones is left out."""
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
        self._is_replacing, self._looked = True, time.monotonic()
        gone = {slot for slots, _ in batch for slot in slots}
        staying = [slot.info.node for slot in (*self.hosts, *self._unused) if slot not in gone]
        exchange = partial(self._exchange, [slot.actor for slot in gone], staying, len(self._starting))
        self._background.submit(exchange, partial(self._end_replacing, batch))

    def _exchange(self, actors: list[Any], staying: list[str], starting: int) -> _Change:
        """Kill actors and create what is missing then; runs beside, and fails if the cluster is gone."""
        self._cluster.insist()
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
        self._enter(change.created, time.monotonic() + START_SECONDS)
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
        beyond = [slot for slot in self.hosts if self.hosts.is_free(slot)][self._limit - len(self.hosts) :]
        for slot in beyond:
            self.hosts.remove(slot)
            self._unused.append(slot)

    def _kill(self, actor: Any) -> None:
        self._background.submit(partial(ray.kill, actor), lambda _: None)


def check_one_class(workers: Iterable[WorkerInfo]) -> None:
    """Refuse devices that differ: one run measures one class of device."""
    if len(classes := sorted({worker.device_class for worker in workers})) > 1:
        raise UsageError(
            f"the cluster offers devices of several kinds, {' and '.join(classes)}, which round and clock "
            "differently; expected one kind: run on nodes of one kind"
        )
