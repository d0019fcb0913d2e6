"""Two ranks over gloo, as threads: what is asked for ahead, what is waited for, what the end of a batch drops."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from methods.peers import ConnectedPeers, SinglePeer, open_store

CPU = torch.device("cpu")
SECONDS = 20.0
STATE = torch.arange(6.0).view(1, 1, 2, 3)


def together(zero: Callable[[ConnectedPeers], Any], one: Callable[[ConnectedPeers], Any]) -> tuple[Any, Any]:
    """Return what each of two ranks, which are threads, found."""
    link = open_store("127.0.0.1", 0, True, SECONDS)

    def rank(number: int, work: Callable[[ConnectedPeers], Any]) -> Any:
        mine = link if number == 0 else open_store("127.0.0.1", link.port, False, SECONDS)
        return work(ConnectedPeers(mine, number, 2, CPU, SECONDS))

    with ThreadPoolExecutor(2) as threads:
        found = [threads.submit(rank, number, work) for number, work in enumerate((zero, one))]
        first, second = (one.result(timeout=2 * SECONDS) for one in found)
    return first, second


def test_what_is_asked_for_ahead_is_what_is_received_then() -> None:
    def zero(peers: ConnectedPeers) -> None:
        for tag in (3, 4):
            peers.isend(STATE + tag, 1, tag)
        peers.end_batch(STATE)

    def one(peers: ConnectedPeers) -> list[torch.Tensor]:
        peers.irecv(STATE, 0, 3)
        found = [peers.recv(STATE, 0, 3), peers.recv(STATE, 0, 4)]
        peers.end_batch(STATE)
        return found

    _, (third, fourth) = together(zero, one)
    assert torch.equal(third, STATE + 3)
    assert torch.equal(fourth, STATE + 4)


def test_what_was_asked_for_and_never_received_is_dropped_at_the_end_of_the_batch() -> None:
    def zero(peers: ConnectedPeers) -> None:
        for batch in (10, 20):
            peers.isend(STATE + batch, 1, 5)
            peers.end_batch(STATE)

    def one(peers: ConnectedPeers) -> torch.Tensor:
        peers.irecv(STATE, 0, 5)
        peers.end_batch(STATE)
        found = peers.recv(STATE, 0, 5)
        peers.end_batch(STATE)
        return found

    assert torch.equal(together(zero, one)[1], STATE + 20)


def test_what_was_asked_for_and_never_sent_is_dropped_too_and_costs_no_bytes_of_states() -> None:
    def zero(peers: ConnectedPeers) -> int:
        peers.isend(STATE + 10, 1, 4)
        peers.end_batch(STATE)
        peers.isend(STATE + 20, 1, 5)
        peers.end_batch(STATE)
        return peers.bytes_sent

    def one(peers: ConnectedPeers) -> torch.Tensor:
        peers.recv(STATE, 0, 4)
        peers.irecv(STATE, 0, 5)
        peers.end_batch(STATE)
        found = peers.recv(STATE, 0, 5)
        peers.end_batch(STATE)
        return found

    sent, found = together(zero, one)
    assert torch.equal(found, STATE + 20)
    assert sent == 2 * STATE.numel() * 4


@pytest.mark.parametrize("flushes", [True, False])
def test_a_flush_waits_until_what_was_sent_is_taken_and_nothing_else_does(flushes: bool) -> None:
    sent, taking, looked = threading.Event(), threading.Event(), threading.Event()

    def zero(peers: ConnectedPeers) -> bool:
        peers.isend(STATE, 1, 7)
        sent.set()
        if flushes:
            peers.flush()
        was_taken = taking.is_set()
        looked.set()
        peers.end_batch(STATE)
        return was_taken

    def one(peers: ConnectedPeers) -> None:
        assert sent.wait(SECONDS)
        looked.wait(0.3 if flushes else SECONDS)  # a flush that did not wait would look by then
        taking.set()
        peers.recv(STATE, 0, 7)
        peers.end_batch(STATE)

    assert together(zero, one)[0] is flushes


def test_one_rank_alone_asks_itself_for_what_it_has() -> None:
    alone = SinglePeer()
    alone.isend(STATE, 0, 1)
    alone.irecv(STATE, 0, 1)
    alone.flush()
    assert alone.recv(STATE, 0, 1) is STATE
