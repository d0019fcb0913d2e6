"""Which workers are free, host by host, and which hosts are reserved for exclusive units."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

W = TypeVar("W", bound=Hashable)


class Hosts(Generic[W]):
    """Workers by host, each free or taken. Taking, releasing and counting workers need no scan."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host[W]] = {}
        self._host_of: dict[W, _Host[W]] = {}
        self._last_task: dict[W, str] = {}
        self._alone: set[W] = set()
        """Workers that run exclusive units."""
        self._shared: _Offer[W] = _Offer(self._last_task)
        self._exclusive: _Offer[W] = _Offer(self._last_task)
        self._wanted = self._reserved = 0
        """Number of hosts to reserve, and of reserved ones."""

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
        self._last_task.pop(worker, None)
        if not host.workers:
            del self._hosts[host.name]
            self._reserved -= host.reserved
        self._keep_reservation()

    def take_workers(self, count: int, exclusive: bool, task: str) -> list[W]:
        """Take free workers for a unit, if possible on one host.

        An empty list if there are too few. Workers whose last unit was of the same task are
        preferred.
        """
        offer = self._exclusive if exclusive else self._shared
        if offer.total < count:
            return []
        chosen = offer.choose_one(task) if count == 1 and not exclusive else offer.choose(count, task)

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

        self._last_task.update(dict.fromkeys(taken, task))
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

    def reserve(self, hosts: int) -> None:
        """Reserve so many hosts, or all if there are fewer, for exclusive units from now on.

        Reserved hosts stay reserved if possible. Further ones are those with the fewest busy
        workers; hosts that were reserved before without becoming idle come last.
        """
        self._wanted = hosts
        self._keep_reservation()

    def _keep_reservation(self) -> None:
        wanted = min(self._wanted, len(self._hosts))
        if wanted == self._reserved:
            return
        more = wanted > self._reserved
        candidates = sorted((host for host in self._hosts.values() if host.reserved != more), key=_distance)
        for host in candidates[: wanted - self._reserved] if more else candidates[wanted:]:
            host.never_drained = not more and host.busy > host.exclusive
            with self._changing(host):
                host.reserved = more
        self._reserved = wanted

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


def _distance(host: _Host[W]) -> tuple[bool, bool, int]:
    """Return a sort key: how soon a host could take exclusive units."""
    return host.never_drained, not host.exclusive, host.busy


class _Offer(Generic[W]):
    """Free workers that units may take: hosts by free workers, workers by last task."""

    def __init__(self, last_task: dict[W, str]) -> None:
        self.total = 0
        self._last_task = last_task
        self._hosts: dict[int, dict[_Host[W], None]] = {}
        self._by_task: dict[str, dict[W, _Host[W]]] = {}

    def add(self, host: _Host[W], worker: W) -> None:
        self._count(host, 1)
        if task := self._last_task.get(worker):
            self._by_task.setdefault(task, {})[worker] = host

    def remove(self, host: _Host[W], worker: W) -> None:
        self._count(host, -1)
        if task := self._last_task.get(worker):
            del self._by_task[task][worker]
            if not self._by_task[task]:
                del self._by_task[task]

    def add_host(self, host: _Host[W]) -> None:
        for worker in host.free:
            self.add(host, worker)

    def remove_host(self, host: _Host[W]) -> None:
        for worker in host.free:
            self.remove(host, worker)

    def choose_one(self, task: str) -> list[tuple[_Host[W], list[W]]]:
        """Return a worker whose last unit was of this task, else one of the freest host."""
        if near := self._by_task.get(task):
            worker, host = next(iter(near.items()))
        else:
            host = next(iter(self._hosts[max(self._hosts)]))
            worker = next(iter(host.free))
        return [(host, [worker])]

    def choose(self, count: int, task: str) -> list[tuple[_Host[W], list[W]]]:
        """Return `count` workers of the smallest host that has enough, else of few hosts."""
        fitting = [number for number in self._hosts if number >= count]
        if fitting:
            hosts = [next(iter(self._hosts[min(fitting)]))]
        else:
            hosts = [host for number in sorted(self._hosts, reverse=True) for host in self._hosts[number]]

        chosen = []
        for host in hosts:
            near = sorted(host.free, key=lambda worker: self._last_task.get(worker) != task)
            chosen.append((host, near[:count]))
            count -= len(near[:count])
            if not count:
                break
        return chosen

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
