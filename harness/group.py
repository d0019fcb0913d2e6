"""Several workers that make one batch together: how they meet, add up their counts, and follow the first of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import torch

from harness.errors import HarnessError
from methods.parts import Peers
from methods.peers import Connected, store

_END = -1
_MEETING_SECONDS = 120.0
_ADDED = ("evaluations", "units", "speculative", "bytes_sent", "network_seconds")


def join(group: Mapping[str, Any], device: torch.device, seconds: float) -> Peers | None:
    """Return the ranks of a task, this one among them, once all are there; None where it is the only one.

    Raises HarnessError if a rank does not come within two minutes, or `seconds` if less; the limit of every later
    wait is `seconds`.
    """
    if group["size"] == 1:
        return None
    rank, size, limit = int(group["rank"]), int(group["size"]), min(seconds, _MEETING_SECONDS)
    try:
        link = store(group["address"], group["port"], rank == 0, limit)
        _meet(link, rank, size, limit)
        return Connected(link, rank, size, device, seconds)
    except (RuntimeError, torch.distributed.DistError) as error:
        raise HarnessError(f"rank {rank} of {size} did not meet the others within {limit:g} s: {error}") from None


def _meet(link: torch.distributed.Store, rank: int, size: int, seconds: float) -> None:
    """Wait until every rank is here."""
    link.set(f"here/{rank}", "1")
    link.wait([f"here/{other}" for other in range(size)], timedelta(seconds=seconds))


def added(peers: Peers | None, facts: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the facts with what every rank counted added up; all ranks must call."""
    if peers is None:
        return facts
    told = [json.loads(_told(peers, facts, rank, device)) for rank in range(peers.size)]
    return {**facts, **{name: _sum([other[name] for other in told]) for name in _ADDED}}


class Lead:
    """Calls of which the first rank decides when and what: it announces each one, the others follow."""

    def __init__(self, peers: Peers | None, device: torch.device) -> None:
        self._peers, self._device = peers, device

    def announce(self, first: int, size: int) -> None:
        """Tell the others to make the images from index `first` on, as this rank is about to do."""
        self._tell(first, size)

    def end(self) -> None:
        """Tell the others that no call follows."""
        self._tell(_END, 0)

    def followed(self) -> Iterator[range]:
        """Yield, on every rank but the first, the indices of the images to make."""
        assert self._peers is not None
        while True:
            first, size = (int(value) for value in self._tell(0, 0))
            if first == _END:
                return
            yield range(first, first + size)

    def _tell(self, first: int, size: int) -> list[float]:
        if self._peers is None:
            return []
        words = torch.tensor([first, size], dtype=torch.float64, device=self._device)
        return list(self._peers.share(words, 0).tolist())


def _told(peers: Peers, facts: Mapping[str, Any], source: int, device: torch.device) -> str:
    """Return what a rank has to say, on every rank."""
    text = json.dumps({name: facts[name] for name in _ADDED}).encode()
    length = int(peers.share(torch.tensor([len(text)], device=device), source))
    mine = torch.frombuffer(bytearray(text.ljust(length)[:length]), dtype=torch.uint8).to(device)
    return peers.share(mine, source).cpu().numpy().tobytes().decode()


def _sum(values: list[Any]) -> Any:
    """Return the sum of numbers, or of tables of them, key by key."""
    if not isinstance(values[0], Mapping):
        return sum(values)
    names = Counter(name for value in values for name in value)
    return {name: _sum([value[name] for value in values if name in value]) for name in names}
