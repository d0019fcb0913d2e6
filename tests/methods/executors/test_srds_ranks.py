"""One rank of SRDS, seen from inside: when it asks, works, sends and stops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from kit.srds_kit import RowNetwork, grid, mixture_of, run, start
from torch import Tensor

from methods.peers import SinglePeer


class Halting(SinglePeer):
    """Rank 1 of 2 that hears of the end after some looks, and keeps what it sends."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.rank, self.size, self.looks = 1, 2, looks
        self.sent: list[tuple[int, int]] = []

    def isend(self, state: Tensor, to: int, tag: int) -> None:
        self.sent.append((to, tag))

    def recv(self, like: Tensor, source: int, tag: int) -> Tensor:
        return like

    def broadcast(self, state: Tensor, source: int) -> Tensor:
        return torch.ones_like(state) if state.dtype == torch.int64 else state

    def stop_requested(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("looks", range(18))
def test_a_rank_stops_before_its_next_evaluation_and_frees_the_one_that_waits_for_it(looks: int) -> None:
    peers = Halting(looks)
    made = run(mixture_of(), grid(25), start(2), peers=peers, devices=2, form="pipelined", blocks=5)
    needed = 12  # of the sweep and the first refinement, which no rank can end before all have done them
    assert made.boundary.evaluations == 2 * (needed + looks)
    tasks = [(p, i) for p in range(6) for i in (2, 4) if i >= p]
    ends = np.cumsum([1 if p == 0 else 4 + (i > p) for p, i in tasks])
    finished = int((ends <= needed + looks).sum())  # then one state of no meaning
    assert peers.sent == [(0, p * 6 + i) for p, i in tasks[: finished + 1]]
    # k = 1 for both samples: what is beyond the first refinement was for nothing
    assert made.trace.speculative == 2 * looks


class Listed(Halting):
    """Rank 1 of 2 that writes down what it asks for and does."""

    def __init__(self) -> None:
        super().__init__(looks=1000)
        self.events: list[tuple[str, int]] = []

    def isend(self, state: Tensor, to: int, tag: int) -> None:
        self.events.append(("send", tag))

    def irecv(self, like: Tensor, source: int, tag: int) -> None:
        self.events.append(("expect", tag))

    def recv(self, like: Tensor, source: int, tag: int) -> Tensor:
        self.events.append(("receive", tag))
        return super().recv(like, source, tag)

    def flush(self) -> None:
        self.events.append(("flush", 0))

    def around(self, network: RowNetwork) -> RowNetwork:
        """Return the network, with its calls among the events."""

        def call(x: Tensor, sigma: Tensor) -> Tensor:
            self.events.append(("call", 0))
            return network(x, sigma)

        return call


def test_a_pipelined_rank_asks_for_its_next_start_before_it_works_on_this_one() -> None:
    peers = Listed()
    run(peers.around(mixture_of()), grid(16), start(1), peers=peers, devices=2, form="pipelined", tolerance=0.0, most=2)
    starts = [tag for word, tag in peers.events if word == "receive"]
    assert starts == [p * 5 + i - 1 for p, i in ((0, 2), (0, 4), (1, 2), (1, 4), (2, 4))]
    assert [tag for word, tag in peers.events if word == "expect"] == starts
    for before, tag in pairwise(starts):
        taken = peers.events.index(("receive", before))
        assert peers.events[taken + 1 : taken + 3] == [("expect", tag), ("call", 0)]


def test_rank_0_waits_until_its_starts_are_taken_before_it_works_itself() -> None:
    peers = Listed()
    peers.rank = 0
    run(peers.around(mixture_of()), grid(16), start(1), peers=peers, devices=2, form="vanilla", tolerance=0.0, most=1)
    words = [word for word, _ in peers.events]
    flushed = words.index("flush")
    assert words[:flushed] == ["call"] * 4 + ["send"] * 2
    assert words[flushed + 1] == "call"
