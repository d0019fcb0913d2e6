"""SRDS on real processes over gloo: the same bytes on 1 to 4, exact accounts, and an end to every wait."""

from __future__ import annotations

import multiprocessing
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from kit.srds_kit import NETWORKS, Outcome, grid, make_start, rank_process, run, serial

from methods.executors.srds_blocks import plan_blocks
from methods.peers import ConnectedPeers, open_store

DEADLINE = 120.0
RANKS = 4
CASES: list[dict[str, Any]] = [
    {"network": network, "size": size, "steps": 64, "batch": 2, "batches": 2, "params": {"form": form, **params}}
    for network, sizes in {"conv": (1, 2, 4), "mixture": (3,)}.items()
    for form in ("vanilla", "pipelined")
    for params in ({"tolerance": 0.0, "most": 3}, {"tolerance": 1e-3})
    for size in sizes
]
MANY = [  # batch after batch that ends early: what one rank left behind must not meet the next batch
    {
        "network": "mixture", "size": size, "steps": 25, "batch": 1, "batches": 40,
        "params": {"form": "pipelined", "tolerance": tolerance},
    }
    for size in (2, 3)
    for tolerance in (1e-1, 1e-3)
]  # fmt: skip
FULL = {"network": "conv", "size": 4, "steps": 25, "batch": 1, "params": {"form": "pipelined", "tolerance": 0.0}}
BATCHED = {"network": "conv", "size": 2, "steps": 64, "batch": 2, "params": {"form": "batched", "tolerance": 1e-3}}
DEATH = {**FULL, "size": 2, "dies": 1, "seconds": 20.0}
ALL = [*CASES, *MANY, FULL, BATCHED, DEATH]  # the death last: its rank takes part in nothing after it


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[int, dict[int, Any]]]:
    """Return what every rank said, by the case's place in ALL and rank; four processes run all cases."""
    end = time.monotonic() + DEADLINE
    link = open_store("127.0.0.1", 0, True, DEADLINE)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "methods.executors.srds"])
    out = context.Queue()
    ranks = [
        context.Process(target=rank_process, args=(rank, link.port, ALL, out), daemon=True) for rank in range(RANKS)
    ]
    expected = sum(case["size"] - ("dies" in case) for case in ALL)
    found: dict[int, dict[int, Any]] = defaultdict(dict)
    for process in ranks:
        process.start()
    try:
        for _ in range(expected):
            name, rank, said = out.get(timeout=max(0.1, end - time.monotonic()))
            found[name][rank] = said
        yield found
    finally:
        for process in ranks:
            process.terminate()
            process.join(5)


def named(outcomes: dict[int, dict[int, Any]], case: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the batches of every rank of a case."""
    said = outcomes[ALL.index(case)]
    assert sorted(said) == list(range(case["size"]))
    for rank in said.values():
        assert isinstance(rank, list), rank
    return [said[rank] for rank in sorted(said)]


@cache
def on_one(network: str, steps: int, batch: int, seed: int, tolerance: float, most: int | None = None) -> Outcome:
    x = make_start({"network": network, "batch": batch, "seed": seed})
    return run(NETWORKS[network](), grid(steps), x, tolerance=tolerance, most=most, form="vanilla")


def label(case: dict[str, Any]) -> str:
    return f"{case['network']}-{'-'.join(map(str, case['params'].values()))}-on-{case['size']}"


@pytest.mark.parametrize("case", [*CASES, *MANY, FULL], ids=label)
def test_samples_are_the_bytes_of_one_process_in_every_batch(case: dict[str, Any], outcomes: dict[int, Any]) -> None:
    params = {name: value for name, value in case["params"].items() if name != "form"}
    for batch in range(case.get("batches", 1)):
        one = on_one(case["network"], case["steps"], case["batch"], batch, **params)
        for rank in named(outcomes, case):
            assert rank[batch]["final"].tobytes() == one.final.numpy().tobytes()
            assert rank[batch]["iterations"] == one.iterations
        if case is FULL:
            assert torch.equal(one.final, serial(NETWORKS["conv"](), grid(25), make_start(FULL)))


@pytest.mark.parametrize("case", [*CASES, *MANY, FULL], ids=label)
def test_accounts_are_exact_on_any_number_of_processes(case: dict[str, Any], outcomes: dict[int, Any]) -> None:
    plan = plan_blocks(case["steps"])
    pipelined = case["params"]["form"] == "pipelined"
    for batch in range(case.get("batches", 1)):
        ranks = [rank[batch] for rank in named(outcomes, case)]
        ks = ranks[0]["iterations"]
        needed = sum(plan.total_cost(k) for k in ks)
        assert sum(rank["evaluations"] - rank["speculative"] for rank in ranks) == needed
        if "most" in case["params"]:
            assert needed == 173 * case["batch"]
            assert not any(rank["speculative"] for rank in ranks)
        chain = plan.chain_pipelined if pipelined else plan.chain_in_turns
        for rank in ranks:
            np.testing.assert_array_equal(rank["critical"], np.stack([chain(k) for k in ks]))
        sent = sum(rank["bytes_sent"] for rank in ranks)
        state = ranks[0]["final"].nbytes
        others = case["size"] - 1
        told = others * (state + 8 * case["batch"])  # the final states and their iterations, to every other rank
        if not others:
            assert sent == 0
        elif pipelined and "most" in case["params"]:
            assert sent == told + state * (7 + 7 + 6 + 5)  # sweep 0, then the active blocks but the last
        elif "most" in case["params"]:
            away = sum((i - 1) % case["size"] != 0 for p in (1, 2, 3) for i in plan.active(p))
            flags = 3 * others * case["batch"]
            assert sent == told + flags + away * 3 * state  # out a start and its estimate, back the end of the block


def test_batched_processes_come_to_nearly_the_same(outcomes: dict[int, Any]) -> None:
    one = on_one("conv", 64, 2, 0, 1e-3)
    ranks = [rank[0] for rank in named(outcomes, BATCHED)]
    for rank in ranks:
        np.testing.assert_allclose(rank["final"], one.final.numpy(), rtol=0, atol=1e-5)
        assert rank["iterations"] == one.iterations
        assert rank["speculative"] == 0
    assert sum(rank["evaluations"] for rank in ranks) == sum(plan_blocks(64).total_cost(k) for k in one.iterations)


def test_the_death_of_a_rank_is_an_error_of_the_other_and_no_endless_wait(outcomes: dict[int, Any]) -> None:
    said = outcomes[ALL.index(DEATH)]
    assert sorted(said) == [0]
    assert isinstance(said[0], str)
    assert "Error" in said[0]


def test_a_rank_that_never_joins_is_an_error_after_the_limit() -> None:
    link = open_store("127.0.0.1", 0, True, 1.0)
    began = time.monotonic()
    with pytest.raises(RuntimeError):
        ConnectedPeers(link, 0, 2, torch.device("cpu"), 1.0)
    assert time.monotonic() - began < 20
