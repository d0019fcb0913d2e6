"""Which workers are free, host by host, and which hosts are reserved for exclusive units."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

W = TypeVar("W", bound=Hashable)


_KEPT_NETWORKS = 3
"""A worker is taken to hold as many networks: with a decoder and a feature network they fit its cache."""


class Hosts(Generic[W]):
    """Workers by host, each free or taken. Taking, releasing and counting workers need no scan."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host[W]] = {}
        self._host_of: dict[W, _Host[W]] = {}
        self._held: dict[W, tuple[str, ...]] = {}
        """What a worker has from earlier units: its last task, then networks, the latest first."""
        self._alone: set[W] = set()
        """Workers that run exclusive units."""
        self._shared: _Offer[W] = _Offer(self._held)
        self._exclusive: _Offer[W] = _Offer(self._held)
        self._wanted = self._reserved = 0
        """Number of hosts to reserve, and of reserved ones."""
        self._devices = 1
        """Workers that a reserved host has to have, where one has as many."""

    def __len__(self) -> int:
        """Return the number of workers."""
        return len(self._host_of)

    def __iter__(self) -> Iterator[W]:
        """Yield all workers, in the order in which they were added."""
        return iter(self._host_of)

    def __contains__(self, worker: object) -> bool:
        return worker in self._host_of

    def count(self) -> int:
        """Return the number of hosts that have workers."""
        return len(self._hosts)

    def reserved(self) -> set[str]:
        """Return the names of the hosts that are reserved."""
        return {host.name for host in self._hosts.values() if host.reserved}

    def idle(self, exclusive: bool = False) -> int:
        """Return how many workers could be taken now."""
        return (self._exclusive if exclusive else self._shared).total

    def is_free(self, worker: W) -> bool:
        """Tell whether a worker is not taken."""
        return worker in self._host_of[worker].free

    def add(self, worker: W, host_name: str) -> None:
        """Add a free worker."""
        host = self._hosts.setdefault(host_name, _Host(host_name))
        with self._changing(host):
            host.workers[worker] = host.free[worker] = None
            self._host_of[worker] = host
        self._keep_reservation()

    def remove(self, worker: W) -> None:
        """Remove a worker, free or not."""
        host = self._host_of.pop(worker)
        with self._changing(host):
            del host.workers[worker]
            host.free.pop(worker, None)
            host.exclusive -= worker in self._alone
        host.never_drained = host.never_drained and host.busy > 0
        self._alone.discard(worker)
        self._held.pop(worker, None)
        if not host.workers:
            del self._hosts[host.name]
            self._reserved -= host.reserved
        self._keep_reservation()

    def has_loaded(self, networks: Sequence[str]) -> bool:
        """Tell whether a free worker that is not reserved holds one of these networks; True where none is named."""
        return not networks or any(self._shared.has(network) for network in networks)

    def take_workers(self, count: int, exclusive: bool, task: str, networks: Sequence[str] = ()) -> list[W]:
        """Take free workers for a unit, if possible on one host.

        An empty list if there are too few. Workers whose last unit was of the same task are
        preferred, then those that hold its networks.
        """
        offer = self._exclusive if exclusive else self._shared
        if offer.total < count:
            return []
        held = (task, *networks)
        chosen = offer.choose_one(held) if count == 1 and not exclusive else offer.choose(count, held)

        # an exclusive unit changes what its host offers, any other only removes workers from the offer
        taken = [worker for _, workers in chosen for worker in workers]
        for host, workers in chosen:
            if exclusive:
                with self._changing(host):
                    for worker in workers:
                        del host.free[worker]
                    host.exclusive += len(workers)
                self._alone.update(workers)
            else:
                for worker in workers:
                    offer.remove(host, worker)
                    del host.free[worker]

        for worker in taken:
            others = [network for network in self._held.get(worker, ())[1:] if network not in networks]
            self._held[worker] = (task, *[*networks, *others][:_KEPT_NETWORKS])
        return taken

    def release_worker(self, worker: W) -> None:
        """Free a worker that was taken."""
        host = self._host_of[worker]
        if host.reserved or host.exclusive:
            with self._changing(host):
                host.free[worker] = None
                host.exclusive -= worker in self._alone
            self._alone.discard(worker)
        else:
            host.free[worker] = None
            self._shared.add(host, worker)
        host.never_drained = host.never_drained and host.busy > 0

    def reserve(self, hosts: int, devices: int = 1) -> None:
        """Reserve so many hosts, or all if there are fewer, for exclusive units from now on.

        Reserved hosts stay reserved if possible. Further ones are those with at least `devices`
        workers, then those with the fewest busy ones; hosts that were reserved before without
        becoming idle come last. Where only hosts with fewer workers are reserved, others replace them.
        """
        self._devices = devices
        if hosts and devices > 1 and self._reserves_small_ones():
            self._wanted = 0
            self._keep_reservation()
        self._wanted = hosts
        self._keep_reservation()

    def _reserves_small_ones(self) -> bool:
        """Tell whether hosts are reserved, none with as many workers as a unit needs, and another host has them."""
        large = [host.reserved for host in self._hosts.values() if len(host.workers) >= self._devices]
        return self._reserved > 0 and bool(large) and not any(large)

    def _keep_reservation(self) -> None:
        wanted = min(self._wanted, len(self._hosts))
        if wanted == self._reserved:
            return
        more = wanted > self._reserved
        candidates = sorted((host for host in self._hosts.values() if host.reserved != more), key=self._distance)
        for host in candidates[: wanted - self._reserved] if more else candidates[wanted:]:
            host.never_drained = not more and host.busy > host.exclusive
            with self._changing(host):
                host.reserved = more
        self._reserved = wanted

    def _distance(self, host: _Host[W]) -> tuple[bool, bool, bool, int]:
        """Return a sort key: how soon a host could take exclusive units; first those with workers enough."""
        return len(host.workers) < self._devices, host.never_drained, not host.exclusive, host.busy

    @contextmanager
    def _changing(self, host: _Host[W]) -> Iterator[None]:
        """Update the offer of a host's free workers after a change within the block."""
        if (offer := self._offer_of(host)) is not None:
            offer.remove_host(host)
        yield
        if (offer := self._offer_of(host)) is not None:
            offer.add_host(host)

    def _offer_of(self, host: _Host[W]) -> _Offer[W] | None:
        """Return the offer of a host's free workers.

        None while it runs an exclusive unit or drains.
        """
        if host.exclusive:
            return None
        if not host.reserved:
            return self._shared
        return self._exclusive if host.busy == 0 else None


class _Host(Generic[W]):
    """The workers of one host."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.workers: dict[W, None] = {}
        self.free: dict[W, None] = {}
        self.offered = 0
        """Number of its free workers in an offer."""
        self.reserved = False
        self.exclusive = 0
        """Number of its workers that run exclusive units."""
        self.never_drained = False
        """Whether it was reserved without becoming idle, and has not been idle since."""

    @property
    def busy(self) -> int:
        return len(self.workers) - len(self.free)


class _Offer(Generic[W]):
    """Free workers that units may take: hosts by free workers, workers by what they hold."""

    def __init__(self, held: dict[W, tuple[str, ...]]) -> None:
        self.total = 0
        self._held = held
        self._hosts: dict[int, dict[_Host[W], None]] = {}
        self._holders: dict[str, dict[W, _Host[W]]] = {}

    def has(self, name: str) -> bool:
        """Tell whether a worker holds something."""
        return name in self._holders

    def add(self, host: _Host[W], worker: W) -> None:
        self._count(host, 1)
        for name in self._held.get(worker, ()):
            self._holders.setdefault(name, {})[worker] = host

    def remove(self, host: _Host[W], worker: W) -> None:
        self._count(host, -1)
        for name in dict.fromkeys(self._held.get(worker, ())):
            del self._holders[name][worker]
            if not self._holders[name]:
                del self._holders[name]

    def add_host(self, host: _Host[W]) -> None:
        for worker in host.free:
            self.add(host, worker)

    def remove_host(self, host: _Host[W]) -> None:
        for worker in host.free:
            self.remove(host, worker)

    def choose_one(self, wanted: Sequence[str]) -> list[tuple[_Host[W], list[W]]]:
        """Return a worker that holds the first of these that any holds, else one of the freest host."""
        for name in wanted:
            if near := self._holders.get(name):
                worker, host = next(iter(near.items()))
                return [(host, [worker])]
        host = next(iter(self._hosts[max(self._hosts)]))
        return [(host, [next(iter(host.free))])]

    def choose(self, count: int, wanted: Sequence[str]) -> list[tuple[_Host[W], list[W]]]:
        """Return `count` workers of the smallest host that has enough, else of few hosts."""
        fitting = [number for number in self._hosts if number >= count]
        if fitting:
            hosts = [next(iter(self._hosts[min(fitting)]))]
        else:
            hosts = [host for number in sorted(self._hosts, reverse=True) for host in self._hosts[number]]

        chosen = []
        for host in hosts:
            near = sorted(host.free, key=lambda worker: self._missing(worker, wanted))
            chosen.append((host, near[:count]))
            count -= len(near[:count])
            if not count:
                break
        return chosen

    def _missing(self, worker: W, wanted: Sequence[str]) -> int:
        """Return how many of the first of these a worker does not hold, up to one that it holds."""
        held = self._held.get(worker, ())
        return next((place for place, name in enumerate(wanted) if name in held), len(wanted))

    def _count(self, host: _Host[W], change: int) -> None:
        """Move a host among those that offer one worker more, or one less."""
        self.total += change
        if host.offered:
            del self._hosts[host.offered][host]
            if not self._hosts[host.offered]:
                del self._hosts[host.offered]
        host.offered += change
        if host.offered:
            self._hosts.setdefault(host.offered, {})[host] = None
