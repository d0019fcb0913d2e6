"""The ranks of one task: workers that make one batch together.

They meet, take rank zero's commands, add up their counts, and leave together.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import torch

from harness.errors import HarnessError
from harness.specs.limits import MEETING_SECONDS, MEETING_SHARE
from harness.specs.sample import Counts
from harness.task import Ranks
from methods.parts import Peers
from methods.peers import ConnectedPeers, open_store

_END = -1
_ADDED = ("evaluations", "units", "speculative", "bytes_sent")
_SECONDS = "network_seconds"


class Group:
    """The ranks of one task, seen from one of them. With a single rank `peers` is None and no call communicates.

    A task makes it in its worker's process; every rank makes the same collective calls in the same order. They block.
    Raises HarnessError if a rank does not connect within two minutes, or a quarter of the deadline if that is less.
    Every later wait is limited by the deadline. Close it before the task yields its result: a rank that exits
    earlier breaks the transfers of the others.
    """

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        self.rank, self.size = ranks.rank, ranks.size
        seconds = ranks.deadline_seconds
        self.peers: Peers | None = None
        self._device = device
        self._limit = timedelta(seconds=min(MEETING_SHARE * seconds, MEETING_SECONDS))
        if self.size == 1:
            return

        limit = self._limit.total_seconds()
        try:
            self._link = open_store(ranks.address, ranks.port, self.rank == 0, limit)
            self._barrier("here")
            self.peers = ConnectedPeers(self._link, self.rank, self.size, device, seconds)
        except RuntimeError as error:
            found = f"rank {self.rank} of {self.size} did not meet the others within {limit:g} s"
            raise HarnessError(f"{found}: {error}") from None

    @property
    def is_rank_zero(self) -> bool:
        """Return whether this is rank 0, whose events alone reach the driver."""
        return self.rank == 0

    def all_reduce(self, counts: Counts, network_seconds: float) -> tuple[Counts, float]:
        """Return counts and seconds summed over all ranks; all ranks must call.

        Iterations and critical paths belong to images, which all ranks make together: they are not summed.
        """
        if self.peers is None:
            return counts, network_seconds

        own = {**counts.model_dump(include=set(_ADDED)), _SECONDS: network_seconds}
        by_rank = [json.loads(self._broadcast_json(own, rank)) for rank in range(self.size)]
        total = {name: _sum([other[name] for other in by_rank]) for name in (*_ADDED, _SECONDS)}
        seconds = total.pop(_SECONDS)
        return Counts.model_validate({**counts.model_dump(), **total}), seconds

    def broadcast_command(self, command: int, first: int, size: int) -> None:
        """Send a command of the task's own from rank zero to the others, for `size` images from index `first` on."""
        self._broadcast(command, first, size)

    def broadcast_stop(self) -> None:
        """End the `commands` of the other ranks."""
        self._broadcast(_END, 0, 0)

    def commands(self) -> Iterator[tuple[int, range]]:
        """Yield rank zero's commands with the indices of their images, on every other rank, until it stops."""
        while True:
            command, first, size = self._broadcast(0, 0, 0)
            if command == _END:
                return
            yield command, range(first, first + size)

    def barrier(self) -> None:
        """Wait for all ranks, so that what they do next begins together; all ranks must call."""
        if self.peers is not None:
            self.peers.end_batch(torch.zeros(1, device=self._device))

    def slowest(self, seconds: float) -> tuple[float, int]:
        """Return the most of all ranks' seconds, and whose they are; all ranks must call."""
        if self.peers is None:
            return seconds, self.rank
        own = torch.tensor([seconds], dtype=torch.float64, device=self._device)
        by_rank = [float(self.peers.broadcast(own, rank)) for rank in range(self.size)]
        self.barrier()
        most = max(by_rank)
        return most, by_rank.index(most)

    def close(self) -> None:
        """Leave the group once all ranks have received everything; rank zero holds the store and leaves last."""
        if self.peers is None:
            return

        self._barrier("done")
        self._link.set(f"left/{self.rank}", "1")
        if self.is_rank_zero:
            self._link.wait([f"left/{rank}" for rank in range(self.size)], self._limit)
        self.peers = None

    def _barrier(self, name: str) -> None:
        """Wait until every rank has come to this point."""
        self._link.set(f"{name}/{self.rank}", "1")
        self._link.wait([f"{name}/{rank}" for rank in range(self.size)], self._limit)

    def _broadcast(self, command: int, first: int, size: int) -> tuple[int, int, int]:
        """Return rank zero's three numbers, on every rank."""
        sent = torch.tensor([command, first, size], dtype=torch.int64, device=self._device)
        command, first, size = (sent if self.peers is None else self.peers.broadcast(sent, 0)).tolist()
        return command, first, size

    def _broadcast_json(self, counted: Mapping[str, Any], source: int) -> str:
        """Return the counts of rank `source` as JSON, on every rank."""
        assert self.peers is not None
        text = json.dumps(counted).encode()
        length = int(self.peers.broadcast(torch.tensor([len(text)], device=self._device), source))
        own = torch.frombuffer(bytearray(text.ljust(length)[:length]), dtype=torch.uint8).to(self._device)
        return self.peers.broadcast(own, source).cpu().numpy().tobytes().decode()


def _sum(values: list[Any]) -> Any:
    """Return the sum of numbers, or of tables of them, key by key."""
    if not isinstance(values[0], Mapping):
        return sum(values)
    names = Counter(name for value in values for name in value)
    return {name: _sum([value[name] for value in values if name in value]) for name in names}
