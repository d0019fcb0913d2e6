"""Ranks that make one batch together: states from point to point, and a request to all to stop.

The calls are named as in torch.distributed. They run in the workers of one group, inside what is timed; `recv`,
`broadcast`, `flush` and `end_batch` wait for other ranks, the others do not.
`Alone` is the one rank of one device; `Connected` is one of several, over gloo on the CPU and NCCL on GPUs. A group
belongs to its object and not to the process, so a process can have several, one after another or beside its training.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import timedelta
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

SHARED = 1 << 30
"""Tag of what one rank tells all."""


class Peers(Protocol):
    """The devices that make one batch together, one rank each; what is sent stays unchanged until it has arrived."""

    rank: int
    size: int
    bytes_sent: int
    """Bytes of states that this rank has sent to others."""

    def isend(self, state: Tensor, to: int, tag: int) -> None:
        """Send a state to a rank without waiting; to itself is free."""

    def irecv(self, like: Tensor, source: int, tag: int) -> None:
        """Say that the next `recv` from a rank will be this one, so that the state can come while this rank works.

        What is not received by the end of the batch is dropped there, sent or not.
        """

    def recv(self, like: Tensor, source: int, tag: int) -> Tensor:
        """Wait for the state with this tag from a rank; it has the shape, dtype and device of `like`."""

    def flush(self) -> None:
        """Wait until the others have taken what was sent to them, which they do sooner while this rank waits."""

    def broadcast(self, state: Tensor, source: int) -> Tensor:
        """Return the state that rank `source` holds, on every rank; all must call."""

    def request_stop(self) -> None:
        """Tell all ranks, without waiting, that nothing further of this batch is wanted."""

    def stop_requested(self) -> bool:
        """Return whether a rank has called `request_stop` since the last `end_batch`; does not wait for anyone."""

    def end_batch(self, like: Tensor) -> None:
        """End a batch: drop what was sent here and not received, let go of what was sent; all must call."""


class Alone:
    """One rank. What it sends to itself it hands over by reference, so a state must not change once sent."""

    def __init__(self) -> None:
        self.rank = 0
        self.size = 1
        self.bytes_sent = 0
        """Bytes of states that left this rank; what the store carries (a few words a batch) is not in it."""
        self._handed: dict[int, Tensor] = {}
        self._halted = False

    def isend(self, state: Tensor, to: int, tag: int) -> None:
        """Send a state to a rank without waiting; to itself it is free."""
        if to != self.rank:
            raise ValueError(f"rank {to} of {self.size} cannot be sent anything")
        self._handed[tag] = state

    def irecv(self, like: Tensor, source: int, tag: int) -> None:
        """Say that the next `recv` from a rank will be this one, so that the state can come while this rank works.

        What is not received by the end of the batch is dropped there, sent or not.
        """

    def recv(self, like: Tensor, source: int, tag: int) -> Tensor:
        """Wait for the state with this tag from a rank; it has the shape, dtype and device of `like`."""
        return self._handed.pop(tag)

    def flush(self) -> None:
        """Wait until the others have taken what was sent to them, which they do sooner while this rank waits."""

    def broadcast(self, state: Tensor, source: int) -> Tensor:
        """Return the state that rank `source` holds, on every rank; all must call."""
        return state

    def request_stop(self) -> None:
        """Tell all ranks, without waiting, that nothing further of this batch is wanted."""
        self._halted = True

    def stop_requested(self) -> bool:
        """Return whether a rank has called `request_stop` since the last `end_batch`; does not wait for anyone."""
        return self._halted

    def end_batch(self, like: Tensor) -> None:
        """End a batch: take in and drop what was sent here and not received, let go of what was sent; all must call."""
        self._handed.clear()
        self._halted = False


class Connected(Alone):
    """One of several ranks, joined through a store (see `store`) that must be new to this group.

    Every wait ends with an error after `seconds`, or at once where a peer's connection breaks. On NCCL tags mean
    nothing and messages between two ranks keep their order: receive in the order in which the other sends. What goes
    up the ranks and what goes down has a communicator of its own, so two ranks that send to each other do not block.

    Gloo hands a state over once it is asked for, by a thread of the sender. While the sender computes on its only core
    that thread waits milliseconds for its turn, which `irecv` and `flush` avoid. NCCL needs neither.
    """

    def __init__(self, link: dist.Store, rank: int, size: int, device: torch.device, seconds: float) -> None:
        super().__init__()
        self.rank, self.size = rank, size
        self._link = link
        self._batch = 0
        self._sent: dict[int, list[int]] = defaultdict(list)
        self._received: dict[int, list[int]] = defaultdict(list)
        self._in_flight: list[tuple[Any, Tensor]] = []
        self._expected: dict[tuple[int, int], tuple[Any, Tensor]] = {}
        self._hosted = device.type == "cpu"
        limit = timedelta(seconds=seconds)
        self._up = _group(dist.PrefixStore("up", link), rank, size, device, limit)
        self._down = self._up if self._hosted else _group(dist.PrefixStore("down", link), rank, size, device, limit)

    def isend(self, state: Tensor, to: int, tag: int) -> None:
        if to == self.rank:
            super().isend(state, to, tag)
            return
        self._isend(state, to, tag)
        self._sent[to].append(tag)
        self.bytes_sent += state.numel() * state.element_size()

    def irecv(self, like: Tensor, source: int, tag: int) -> None:
        if self._hosted and source != self.rank:
            self._expected[source, tag] = self._asked(like, source, tag)

    def recv(self, like: Tensor, source: int, tag: int) -> Tensor:
        if source == self.rank:
            return super().recv(like, source, tag)
        begun = self._expected.pop((source, tag), None)
        work, state = self._asked(like, source, tag) if begun is None else begun
        work.wait()
        self._received[source].append(tag)
        return state

    def flush(self) -> None:
        if self._hosted:
            self._wait_sends()

    def broadcast(self, state: Tensor, source: int) -> Tensor:
        if source != self.rank:
            return self.recv(state, source, SHARED)
        for rank in range(self.size):
            if rank != source:
                self.isend(state, rank, SHARED)
        return state

    def request_stop(self) -> None:
        self._link.set(f"halt/{self._batch}", "1")
        super().request_stop()

    def stop_requested(self) -> bool:
        self._halted = self._halted or self._link.check([f"halt/{self._batch}"])
        return self._halted

    def end_batch(self, like: Tensor) -> None:
        others = [rank for rank in range(self.size) if rank != self.rank]
        asked = {other: [tag for source, tag in self._expected if source == other] for other in others}
        self._link.set(f"settled/{self._batch}/{self.rank}", json.dumps({"sent": self._sent, "asked": asked}))
        told = {other: json.loads(self._link.get(f"settled/{self._batch}/{other}")) for other in others}
        for other in others:  # a receive that has begun cannot be taken back, so it gets something
            for tag in told[other]["asked"][str(self.rank)]:
                if tag not in self._sent[other]:
                    self._isend(like, other, tag)
        for other in others:
            sent = told[other]["sent"].get(str(self.rank), [])[len(self._received[other]) :]
            for tag in [*sent, *(tag for tag in asked[other] if tag not in sent)]:
                self.recv(like, other, tag)
        self._wait_sends()
        self._sent.clear()
        self._received.clear()
        self._batch += 1
        super().end_batch(like)

    def _asked(self, like: Tensor, source: int, tag: int) -> tuple[Any, Tensor]:
        """Return a receive that has begun, and where the state will be."""
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


def store(address: str, port: int, first: bool, seconds: float) -> dist.TCPStore:
    """Return the store by which ranks find each other: the first one opens it, at port 0 at a free `.port`."""
    return dist.TCPStore(address, port, is_master=first, wait_for_workers=False, timeout=timedelta(seconds=seconds))


def _group(link: dist.Store, rank: int, size: int, device: torch.device, limit: timedelta) -> Any:
    if device.type == "cpu":
        return dist.ProcessGroupGloo(link, rank, size, limit)
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = limit
    return dist.ProcessGroupNCCL(link, rank, size, options)
