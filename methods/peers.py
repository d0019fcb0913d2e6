"""Ranks that make one batch together: states sent from point to point, and a request to all ranks to stop.

The calls are named as in torch.distributed. Executors call them in the workers of one group,
inside what is timed. `recv`, `broadcast`, `flush` and `end_batch` wait for other ranks, the others
do not. `SinglePeer` is the only rank of one device. `ConnectedPeers` is one of several ranks, over
gloo on CPUs and NCCL on GPUs. A group belongs to its object and not to the process, so a process
can have several, also during training.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import timedelta
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

BROADCAST_TAG = 1 << 30
"""Tag of broadcast states."""


class Peers(Protocol):
    """The devices that make one batch together, one rank each.

    The sender must not change a state in place before it has arrived.
    """

    rank: int
    size: int
    bytes_sent: int
    """Bytes of states that this rank has sent to others."""

    def isend(self, state: Tensor, to: int, tag: int) -> None:
        """Send a state to a rank, without waiting; sending to itself costs nothing."""

    def irecv(self, like: Tensor, source: int, tag: int) -> None:
        """Say that the next `recv` from a rank will be this one, so that the state can come while this rank works.

        What is not received by the end of the batch is dropped there, sent or not.
        """

    def recv(self, like: Tensor, source: int, tag: int) -> Tensor:
        """Wait for the state with this tag from a rank.

        It has the shape, dtype and device of `like`.
        """

    def flush(self) -> None:
        """Wait until the others have received what was sent to them, which is sooner while this rank waits."""

    def broadcast(self, state: Tensor, source: int) -> Tensor:
        """Return the state that rank `source` holds, on every rank; all ranks must call."""

    def request_stop(self) -> None:
        """Signal to all ranks, without waiting, that nothing further of this batch is needed."""

    def stop_requested(self) -> bool:
        """Return whether a rank has called `request_stop` since the last `end_batch`, without waiting."""

    def end_batch(self, like: Tensor) -> None:
        """End a batch: drop unreceived states and release sent ones; all ranks must call."""


class SinglePeer:
    """The only rank.

    States are passed to itself by reference, so they must not change once sent.
    """

    def __init__(self) -> None:
        self.rank = 0
        self.size = 1
        self.bytes_sent = 0
        """Bytes of states sent to other ranks, without the few words a batch that the store carries."""
        self._sent_to_self: dict[int, Tensor] = {}
        self._stop_requested = False

    def isend(self, state: Tensor, to: int, tag: int) -> None:
        """Keep a state for `recv`; raises ValueError for another rank."""
        if to != self.rank:
            raise ValueError(f"rank {to} of {self.size} cannot be sent anything")
        self._sent_to_self[tag] = state

    def irecv(self, like: Tensor, source: int, tag: int) -> None:
        """Say that the next `recv` from a rank will be this one, so that the state can come while this rank works.

        What is not received by the end of the batch is dropped there, sent or not.
        """

    def recv(self, like: Tensor, source: int, tag: int) -> Tensor:
        """Wait for the state with this tag from a rank.

        It has the shape, dtype and device of `like`.
        """
        return self._sent_to_self.pop(tag)

    def flush(self) -> None:
        """Return at once: there are no other ranks."""

    def broadcast(self, state: Tensor, source: int) -> Tensor:
        """Return the state."""
        return state

    def request_stop(self) -> None:
        """Remember the request until `end_batch`."""
        self._stop_requested = True

    def stop_requested(self) -> bool:
        """Return whether `request_stop` was called since the last `end_batch`."""
        return self._stop_requested

    def end_batch(self, like: Tensor) -> None:
        """Drop unreceived states and the request to stop."""
        self._sent_to_self.clear()
        self._stop_requested = False


class ConnectedPeers(SinglePeer):
    """One of several ranks, joined through a store (see `open_store`) that must be new to this group.

    Every wait ends with an error after `seconds`, or at once where a peer's connection breaks.
    NCCL ignores tags, and messages between two ranks keep their order: receive in the order in
    which the other rank sends. There is one communicator to higher ranks and one to lower ranks,
    so two ranks that send to each other do not block.

    Gloo transfers a state once the receiver has posted its receive, by a thread of the sender.
    While the sender computes on its only core, that thread waits milliseconds for its turn;
    `irecv` and `flush` avoid this. NCCL needs neither.
    """

    def __init__(self, store: dist.Store, rank: int, size: int, device: torch.device, seconds: float) -> None:
        super().__init__()
        self.rank, self.size = rank, size
        self._store = store
        self._batch = 0
        self._sent: dict[int, list[int]] = defaultdict(list)
        self._received: dict[int, list[int]] = defaultdict(list)
        self._in_flight: list[tuple[Any, Tensor]] = []
        self._expected: dict[tuple[int, int], tuple[Any, Tensor]] = {}
        self._on_cpu = device.type == "cpu"
        limit = timedelta(seconds=seconds)
        self._up = _group(dist.PrefixStore("up", store), rank, size, device, limit)
        self._down = self._up if self._on_cpu else _group(dist.PrefixStore("down", store), rank, size, device, limit)

    def isend(self, state: Tensor, to: int, tag: int) -> None:
        if to == self.rank:
            super().isend(state, to, tag)
            return
        self._isend(state, to, tag)
        self._sent[to].append(tag)
        self.bytes_sent += state.numel() * state.element_size()

    def irecv(self, like: Tensor, source: int, tag: int) -> None:
        if self._on_cpu and source != self.rank:
            self._expected[source, tag] = self._begin_recv(like, source, tag)

    def recv(self, like: Tensor, source: int, tag: int) -> Tensor:
        if source == self.rank:
            return super().recv(like, source, tag)
        begun = self._expected.pop((source, tag), None)
        work, state = self._begin_recv(like, source, tag) if begun is None else begun
        work.wait()
        self._received[source].append(tag)
        return state

    def flush(self) -> None:
        if self._on_cpu:
            self._wait_sends()

    def broadcast(self, state: Tensor, source: int) -> Tensor:
        if source != self.rank:
            return self.recv(state, source, BROADCAST_TAG)
        for rank in range(self.size):
            if rank != source:
                self.isend(state, rank, BROADCAST_TAG)
        return state

    def request_stop(self) -> None:
        self._store.set(f"stop/{self._batch}", "1")
        super().request_stop()

    def stop_requested(self) -> bool:
        self._stop_requested = self._stop_requested or self._store.check([f"stop/{self._batch}"])
        return self._stop_requested

    def end_batch(self, like: Tensor) -> None:
        others = [rank for rank in range(self.size) if rank != self.rank]

        # exchange what was sent, and which receives have begun
        expected = {other: [tag for source, tag in self._expected if source == other] for other in others}
        counts = json.dumps({"sent": self._sent, "expected": expected})
        self._store.set(f"batch-end/{self._batch}/{self.rank}", counts)
        reports = {other: json.loads(self._store.get(f"batch-end/{self._batch}/{other}")) for other in others}

        # a receive that has begun cannot be cancelled, so it gets something
        for other in others:
            for tag in reports[other]["expected"][str(self.rank)]:
                if tag not in self._sent[other]:
                    self._isend(like, other, tag)

        # receive and drop the rest
        for other in others:
            sent = reports[other]["sent"].get(str(self.rank), [])[len(self._received[other]) :]
            for tag in [*sent, *(tag for tag in expected[other] if tag not in sent)]:
                self.recv(like, other, tag)
        self._wait_sends()

        self._sent.clear()
        self._received.clear()
        self._batch += 1
        super().end_batch(like)

    def _begin_recv(self, like: Tensor, source: int, tag: int) -> tuple[Any, Tensor]:
        """Return the handle of a receive that has begun, and the tensor that it fills."""
        state = torch.empty_like(like, memory_format=torch.contiguous_format)
        return self._group_of(source, self.rank).recv([state], source, tag), state

    def _isend(self, state: Tensor, to: int, tag: int) -> None:
        state = state.contiguous()
        self._in_flight.append((self._group_of(self.rank, to).send([state], to, tag), state))

    def _wait_sends(self) -> None:
        for work, _ in self._in_flight:
            work.wait()
        self._in_flight.clear()

    def _group_of(self, source: int, to: int) -> Any:
        return self._up if source < to else self._down


def open_store(address: str, port: int, first: bool, seconds: float) -> dist.TCPStore:
    """Return the store by which ranks find each other.

    Rank 0 opens it, with port 0 at a free `.port`.
    """
    return dist.TCPStore(address, port, is_master=first, wait_for_workers=False, timeout=timedelta(seconds=seconds))


def _group(store: dist.Store, rank: int, size: int, device: torch.device, limit: timedelta) -> Any:
    if device.type == "cpu":
        return dist.ProcessGroupGloo(store, rank, size, limit)
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = limit
    return dist.ProcessGroupNCCL(store, rank, size, options)
