"""Ranks begin together, and what they do takes as long as the slowest of them."""

from __future__ import annotations

import multiprocessing

import torch
from kit.sleep_kit import free_ports, late_rank

from harness.sampling.ranks import Group
from harness.task import ALONE

CPU = torch.device("cpu")
RANKS = 3


def test_no_rank_passes_a_barrier_before_the_last_has_come_and_all_know_the_slowest() -> None:
    context, (port,) = multiprocessing.get_context("forkserver"), free_ports(1)
    context.set_forkserver_preload(["kit.sleep_kit"])
    out = context.Queue()
    processes = [context.Process(target=late_rank, args=(rank, RANKS, port, out), daemon=True) for rank in range(RANKS)]
    for process in processes:
        process.start()
    try:
        found = {rank: rest for rank, *rest in (out.get(timeout=120) for _ in processes)}
    finally:
        for process in processes:
            process.join(5)
            process.terminate()
    last = max(arrived for arrived, _, _ in found.values())
    assert found[2][0] == last
    assert min(passed for _, passed, _ in found.values()) >= last
    assert all(slowest == [(2.0, 2), (0.0, 0), (1.0, 0)] for _, _, slowest in found.values())


def test_a_single_rank_is_the_slowest_and_waits_for_none() -> None:
    group = Group(ALONE, CPU)
    group.barrier()
    assert group.slowest(3.0) == (3.0, 0)
