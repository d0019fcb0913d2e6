"""The arithmetic of Parareal: cuts, costs of section 2.5 of the specification and makespans of its section 2.7."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest

from methods.executors.srds_blocks import default_blocks, owner, plan_blocks
from methods.executors.srds_latency_model import replay

SQUARES = (16, 25, 64, 100)
MAKESPANS = {  # N: the numbers of refinements, then ticks at D = 1, 2, 4, 8, B and without a limit
    16: ((1, 2, 4), (19, 30, 40), (11, 18, 25), (8, 12, 19), None, (8, 12, 19), (7, 10, 16)),
    25: ((1, 2, 5), (29, 48, 75), (17, 27, 45), (11, 16, 30), None, (10, 15, 29), (9, 13, 25)),
    64: (
        (1, 2, 3, 8),
        (71, 126, 173, 288), (37, 68, 92, 161), (21, 37, 53, 99), (16, 24, 32, 71), (16, 24, 32, 71), (15, 22, 29, 64),
    ),
    100: (
        (1, 2, 3, 10),
        (109, 198, 277, 550), (56, 105, 145, 301), (34, 63, 83, 181), (23, 42, 52, 121), (20, 30, 40, 109),
        (19, 28, 37, 100),
    ),
}  # fmt: skip
PROGRAM = {2: (40, 71, 95), 4: (24, 40, 56), 8: (16, 24, 32)}


def tick(steps: Sequence[int]) -> float:
    return 1.0


def test_a_grid_is_cut_into_as_many_blocks_as_asked_the_last_ones_shorter() -> None:
    assert plan_blocks(16).edges == (0, 4, 8, 12, 16)
    assert plan_blocks(10, 4).edges == (0, 3, 6, 9, 10)
    assert plan_blocks(10, 6).edges == (0, 2, 4, 6, 8, 9, 10)
    assert plan_blocks(5, 1).edges == (0, 5)
    assert plan_blocks(5, 5).edges == (0, 1, 2, 3, 4, 5)
    for steps in range(1, 60):
        for blocks in range(1, steps + 1):
            edges = plan_blocks(steps, blocks).edges
            lengths = [b - a for a, b in pairwise(edges)]
            assert (len(lengths), sum(lengths), lengths[0]) == (blocks, steps, -(-steps // blocks))
            assert min(lengths) >= 1
            assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("blocks", [0, 6])
def test_a_grid_is_not_cut_into_more_blocks_than_steps_or_none(blocks: int) -> None:
    with pytest.raises(ValueError, match=f"5 steps cannot be cut into {blocks} blocks; give 1 to 5"):
        plan_blocks(5, blocks)


def test_the_default_is_the_root_and_the_spec_cuts_it_with_one_short_block() -> None:
    assert [default_blocks(n) for n in (1, 2, 3, 12, 13, 16, 961)] == [1, 1, 2, 3, 4, 4, 31]
    for steps in range(1, 200):
        blocks = default_blocks(steps)
        length = -(-steps // blocks)
        assert blocks == -(-steps // length)
        assert plan_blocks(steps).edges == (*range(0, steps, length), steps)


def test_blocks_go_around_the_devices() -> None:
    assert [owner(i, 3) for i in range(1, 8)] == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("steps", SQUARES)
def test_costs_are_the_formulas(steps: int) -> None:
    b = s = default_blocks(steps)
    for k in range(1, b + 1):
        p = range(1, k + 1)
        plain, skip, shared = (
            plan_blocks(steps, share=False, skip=False),
            plan_blocks(steps, share=False),
            plan_blocks(steps),
        )
        assert plain.total_cost(k) == b + k * (steps + b)
        assert skip.total_cost(k) == b + sum((b - q + 1) * s + (b - q) for q in p)
        assert shared.total_cost(k) == sum((b - q + 1) * s for q in p) + b - k
        assert plain.chain_in_turns(k).sum() == b + k * (s + b)
        assert skip.chain_in_turns(k).sum() == b + sum(s + b - q for q in p)
        assert shared.chain_in_turns(k).sum() == b + sum(s - 1 + b - q for q in p)
        for one in (plain, skip, shared):
            assert one.chain_pipelined(k).sum() == k * s + b - k


def test_costs_are_the_printed_numbers() -> None:
    plain = {(16, 4): 84, (25, 5): 155, (64, 8): 584}
    for (steps, k), total in plain.items():
        assert plan_blocks(steps, share=False, skip=False).total_cost(k) == total
    assert plan_blocks(64).total_cost(3) == 173
    for steps, (vanilla, pipelined) in {25: (15, 9), 100: (30, 19), 196: (42, 27), 961: (93, 61)}.items():
        assert plan_blocks(steps, share=False, skip=False).chain_in_turns(1).sum() == vanilla
        assert plan_blocks(steps).chain_pipelined(1).sum() == pipelined
    assert plan_blocks(1024, share=False, skip=False).chain_in_turns(3).sum() == 224
    assert plan_blocks(1024).chain_pipelined(3).sum() == 125


@pytest.mark.parametrize("steps", [7, 16, 23])
def test_a_chain_after_all_refinements_is_serial_when_pipelined(steps: int) -> None:
    for blocks in range(1, steps + 1):
        assert plan_blocks(steps, blocks).chain_pipelined(blocks).tolist() == [1.0] * steps


def test_a_chain_lies_where_its_evaluations_are() -> None:
    one = plan_blocks(16)
    assert one.chain_in_turns(0).tolist() == [1, 0, 0, 0] * 4
    assert one.chain_in_turns(1).tolist() == [1, 1, 1, 1, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0]
    heun = plan_blocks(4, 2, work=(2, 2, 2, 1))
    assert heun.chain_in_turns(1).tolist() == [2, 2, 2, 0]  # sweep, three more of block 1, G of block 2
    assert heun.total_cost(1) == 2 + 3 + 2 + 1
    assert heun.total_cost(2) == 2 + 3 + 2 + 1 + 2


@pytest.mark.parametrize("steps", SQUARES)
def test_greedy_makespans_are_the_table(steps: int) -> None:
    ks, *columns = MAKESPANS[steps]
    one = plan_blocks(steps)
    for devices, ticks in zip((1, 2, 4, 8, one.blocks, None), columns, strict=True):
        if ticks is not None:
            assert tuple(replay(one, k, devices, tick, order="greedy").seconds for k in ks) == ticks


def test_program_order_makespans_are_the_printed_ones_and_those_of_one_device_per_block() -> None:
    one = plan_blocks(64)
    for devices, ticks in PROGRAM.items():
        assert tuple(replay(one, k, devices, tick).seconds for k in (1, 2, 3)) == ticks
    for steps in SQUARES:
        b = default_blocks(steps)
        for k in range(1, b + 1):
            assert replay(plan_blocks(steps), k, b, tick).seconds == k * b + b - (k == b)
            assert replay(plan_blocks(steps, share=False), k, b, tick).seconds >= k * b + b


@pytest.mark.parametrize("order", ["program", "greedy"])
@pytest.mark.parametrize(("steps", "blocks"), [(16, 4), (23, 5), (12, 2), (9, 9), (5, 1)])
def test_one_device_takes_all_evaluations_and_none_is_lost_on_more(steps: int, blocks: int, order: str) -> None:
    for flags in ({}, {"share": False}, {"skip": False}, {"share": False, "skip": False}):
        one = plan_blocks(steps, blocks, **flags)
        for k in range(1, blocks + 1):
            for devices in (1, 2, 3):
                made = replay(one, k, devices, lambda steps: 0.5 * len(steps), 0.1, order=order, rows=2)
                assert sum(made.busy) == pytest.approx(one.total_cost(k))
                assert made.seconds >= max(made.busy)
                assert (devices > 1) or made.seconds == pytest.approx(one.total_cost(k))


@pytest.mark.parametrize(("steps", "blocks"), [(16, 4), (23, 5), (30, 3)])
def test_without_a_limit_of_devices_the_time_is_the_longest_chain(steps: int, blocks: int) -> None:
    one = plan_blocks(steps, blocks)
    for k in range(1, blocks + 1):
        assert replay(one, k, None, tick).seconds == one.chain_pipelined(k).sum()


def test_every_boundary_is_crossed_once_on_the_critical_path() -> None:
    one = plan_blocks(64)
    for k in (1, 2, 3):
        assert replay(one, k, 8, tick, 0.25).seconds == k * 8 + 8 + 7 * 0.25
        assert replay(one, k, 1, tick, 0.25).seconds == one.total_cost(k)


def test_refinements_in_turns_take_the_latency_model() -> None:
    def call(rows: int) -> float:
        return 1.0 + 0.125 * rows

    def seconds(steps: Sequence[int]) -> float:
        return call(len(steps))

    one, k, hop = plan_blocks(64), 3, 0.5
    shape = range(1, k + 1)
    assert replay(one, k, 1, seconds, form="serial").seconds == 64 * call(1)
    assert replay(one, k, 1, seconds, form="vanilla").seconds == one.total_cost(k) * call(1)
    batched = 8 * call(1) + sum(7 * call(8 - p + 1) + (8 - p) * call(1) for p in shape)
    assert replay(one, k, 1, seconds, form="batched").seconds == pytest.approx(batched)
    vanilla = 8 * call(1) + sum((7 + 8 - p) * call(1) + 2 * hop for p in shape)
    assert replay(one, k, 8, seconds, hop, form="vanilla").seconds == pytest.approx(vanilla)
    assert replay(one, 1, 2, seconds, hop, form="batched").seconds == pytest.approx(
        8 * call(1) + 7 * call(4) + 7 * call(1) + 2 * hop
    )


@pytest.mark.parametrize("form", ["serial", "vanilla", "batched", "pipelined"])
def test_a_call_is_timed_at_the_steps_that_it_evaluates(form: str) -> None:
    one, asked = plan_blocks(8, 3, work=(1, 1, 2, 1, 1, 1, 1, 1)), []

    def seconds(steps: Sequence[int]) -> float:
        asked.append(tuple(steps))
        return float(sum(2**step for step in steps))

    found = replay(one, 2, 1, seconds, form=form, rows=2).seconds
    assert one.edges == (0, 3, 6, 8)
    serial = Counter({0: 1, 1: 1, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1})
    sweep, corrections = [0, 3, 6], [3, 6, 6]
    fine = [1, 2, 2, 4, 5, 7, 4, 5, 7]  # without each block's first: all blocks, then all but the first
    evaluated = serial if form == "serial" else Counter(sweep + corrections + fine)
    assert found == 2 * sum(count * 2**step for step, count in evaluated.items())
    if form == "batched":
        assert {(1, 1, 4, 4, 7, 7), (2, 2, 5, 5), (2, 2), (4, 4, 7, 7), (5, 5)} <= set(asked)
    else:
        assert {len(steps) for steps in asked} == {2}
