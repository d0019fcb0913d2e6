"""Several workers that make one batch together: how they meet, add up counts, follow the first of them, and part."""

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
    """The ranks of one task, seen from one of them. Of one rank alone `peers` is None and nothing is to be told.

    Raises HarnessError if a rank does not come within two minutes, or a quarter of the deadline if that is less; the
    limit of every later wait is the deadline. Leave before the task's result is told: a rank that goes earlier breaks
    what others still receive.
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
            self._agree("here")
            self.peers = ConnectedPeers(self._link, self.rank, self.size, device, seconds)
        except RuntimeError as error:
            told = f"rank {self.rank} of {self.size} did not meet the others within {limit:g} s"
            raise HarnessError(f"{told}: {error}") from None

    @property
    def leads(self) -> bool:
        """Return whether this is the first rank, which alone is heard."""
        return self.rank == 0

    def added(self, counts: Counts, network_seconds: float) -> tuple[Counts, float]:
        """Return counts and seconds with what every rank counted added up; all ranks must call.

        Iterations and critical paths are those of images, which all ranks make together: they are not added.
        """
        if self.peers is None:
            return counts, network_seconds
        mine = {**counts.model_dump(include=set(_ADDED)), _SECONDS: network_seconds}
        told = [json.loads(self._told(mine, rank)) for rank in range(self.size)]
        total = {name: _sum([other[name] for other in told]) for name in (*_ADDED, _SECONDS)}
        seconds = total.pop(_SECONDS)
        return Counts.model_validate({**counts.model_dump(), **total}), seconds

    def announce(self, word: int, first: int, size: int) -> None:
        """Tell the others to do, with the images from index `first` on, what a word of the task's own stands for."""
        self._tell(word, first, size)

    def end(self) -> None:
        """Tell the others that nothing follows."""
        self._tell(_END, 0, 0)

    def followed(self) -> Iterator[tuple[int, range]]:
        """Yield, on every rank but the first, what to do and the indices of the images to do it with."""
        while True:
            word, first, size = self._tell(0, 0, 0)
            if word == _END:
                return
            yield word, range(first, first + size)

    def leave(self) -> None:
        """Part from the others once all have what was sent to them; the first rank holds the store and goes last."""
        if self.peers is None:
            return
        self._agree("done")
        self._link.set(f"left/{self.rank}", "1")
        if self.leads:
            self._link.wait([f"left/{rank}" for rank in range(self.size)], self._limit)
        self.peers = None

    def _agree(self, word: str) -> None:
        """Wait until every rank has come to this point."""
        self._link.set(f"{word}/{self.rank}", "1")
        self._link.wait([f"{word}/{rank}" for rank in range(self.size)], self._limit)

    def _tell(self, word: int, first: int, size: int) -> tuple[int, int, int]:
        """Return what the first rank says, on every rank."""
        said = torch.tensor([word, first, size], dtype=torch.int64, device=self._device)
        word, first, size = (said if self.peers is None else self.peers.broadcast(said, 0)).tolist()
        return word, first, size

    def _told(self, counted: Mapping[str, Any], source: int) -> str:
        """Return what a rank has to say, on every rank."""
        assert self.peers is not None
        text = json.dumps(counted).encode()
        length = int(self.peers.broadcast(torch.tensor([len(text)], device=self._device), source))
        mine = torch.frombuffer(bytearray(text.ljust(length)[:length]), dtype=torch.uint8).to(self._device)
        return self.peers.broadcast(mine, source).cpu().numpy().tobytes().decode()


def _sum(values: list[Any]) -> Any:
    """Return the sum of numbers, or of tables of them, key by key."""
    if not isinstance(values[0], Mapping):
        return sum(values)
    names = Counter(name for value in values for name in value)
    return {name: _sum([value[name] for value in values if name in value]) for name in names}
