"""The time task repeats a block that other work disturbed, at most twice, and keeps every repetition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from kit import sleep_kit

from harness.measure.call_times import CallTimer
from harness.measure.device import CallTiming
from harness.sampling.place import Place
from harness.specs.rules.timing import MOST_REPEATS, TIERS
from harness.specs.time import TimeOutput, TimeSpec
from harness.task import Progress, Result
from harness.tasks import time as time_task

ROUNDS = TIERS["smoke"].rounds
WARM_UP = 2
"""Calls of the clock before the first round, one of each kind; those of the trial are timed by another function."""
CALLS = 4 * ROUNDS
"""Calls of a block."""


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[Progress], TimeOutput]]:
    """Return what runs the task on a clock by which the process has these shares of its core, block by block."""
    monkeypatch.setattr(time_task, "ENERGY_SECONDS", 0.0)
    monkeypatch.setattr(time_task, "build_sampler", sleep_kit._sleeping(None))
    monkeypatch.setattr(time_task, "load_network", sleep_kit.no_network)
    monkeypatch.setattr(sleep_kit, "CALL_SECONDS", 0.0)
    monkeypatch.setattr(sleep_kit, "ROW_SECONDS", 0.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)

    def run(*shares: float, executor: str = "serial", **params: Any) -> tuple[list[Progress], TimeOutput]:
        made = 0

        def timed_call(call: Callable[[], Any], device: torch.device) -> tuple[Any, CallTiming]:
            nonlocal made
            block = max(made - WARM_UP, 0) // CALLS
            made += 1
            return call(), CallTiming(1.0 / (1 + block), shares[min(block, len(shares) - 1)] / (1 + block), None)

        monkeypatch.setattr(time_task, "timed_call", timed_call)
        spec = TimeSpec(
            sampler=sleep_kit.sampler(executor, steps=4, **params), clock=sleep_kit.sampler(steps=2), tier="smoke",
            batch=2, n_images=8, device_name="a chip",
        )  # fmt: skip
        events = list(time_task.run(spec, {}, Place(torch.device("cpu"))))
        output = events[-1].output if isinstance(events[-1], Result) else None
        assert isinstance(output, TimeOutput)
        return [event for event in events if isinstance(event, Progress)], output

    return run


Timed = Callable[..., tuple[list[Progress], TimeOutput]]


@pytest.mark.parametrize(
    ("shares", "blocks", "counted"),
    [
        ((1.0,), 1, 0),
        ((0.5, 1.0), 2, 1),
        ((0.5, 0.6, 0.95), 3, 2),
        ((0.5, 0.6, 0.7, 1.0), 3, 0),  # all calls of all blocks are disturbed: the first
    ],
)
def test_a_disturbed_block_is_repeated_at_most_twice(
    timed: Timed, shares: tuple[float, ...], blocks: int, counted: int
) -> None:
    _, output = timed(*shares)
    assert MOST_REPEATS == 2
    assert (len(output.blocks), output.counted) == (blocks, counted)
    assert [one.cpu_share for one in output.blocks] == pytest.approx(list(shares[:blocks]))
    assert [bool(one.disturbed) for one in output.blocks] == [share < 0.9 for share in shares[:blocks]]
    assert output.own_cpu


def test_every_repetition_of_every_block_is_kept_in_pairs(timed: Timed) -> None:
    _, output = timed(0.5, 0.5, 0.5)
    calls = sorted((r.block, r.round, r.role, r.kind) for r in output.repetitions)
    assert calls == sorted(
        (block, number, role, kind)
        for block in range(3)
        for number in range(ROUNDS)
        for role in ("trial", "baseline")
        for kind in ("latency", "throughput")
    )
    for block in range(3):
        assert [r.order for r in output.repetitions if r.block == block] == list(range(CALLS))
        assert {r.seconds for r in output.repetitions if r.block == block} == {1.0 / (1 + block)}
    assert [one.rounds for one in output.blocks] == [ROUNDS] * 3


def test_progress_goes_on_through_the_blocks_and_says_why(timed: Timed) -> None:
    progress, _ = timed(0.5, 1.0)
    assert [one.done for one in progress] == list(range(1, 2 * ROUNDS + 1))
    assert [one.total for one in progress] == [ROUNDS] * ROUNDS + [2 * ROUNDS] * ROUNDS
    assert progress[0].note == "rounds"
    assert progress[-1].note == "rounds; again, since it had 50 % of its core"


def test_loops_of_a_disturbed_block_are_dropped(timed: Timed, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[int] = []
    drop = CallTimer.drop_loops

    def count_and_drop(self: CallTimer) -> None:
        dropped.append(sum(map(len, self._loops.values())))
        drop(self)

    monkeypatch.setattr(CallTimer, "drop_loops", count_and_drop)
    _, output = timed(0.5, executor="srds", form="pipelined", tolerance=0.0, most=1)
    assert dropped == [0, ROUNDS, ROUNDS]
    (row,) = [one for one in output.virtual if one.is_real]
    assert (output.counted, row.serial_seconds) == (0, 1.0)  # seconds of the first block, which counts


@pytest.mark.parametrize(
    ("seconds", "taken"), [((9.0, 9.0, 1.0), 1.0), ((9.0, 8.0, 7.0, 6.0, 5.0), 6.0), ((1.5, 0.1), 1.5)]
)
def test_a_slow_call_with_new_images_is_made_again_and_the_least_counts(
    timed: Timed, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...], taken: float
) -> None:
    """A timed call takes 1 second here; up to twice as long is not slow, and there are three further calls at most."""
    given = iter((1.0, 1.0, *seconds, *[1.0] * 20))  # two of the warm-up
    monkeypatch.setattr(time_task, "own_seconds", lambda *_: (1.0, next(given)))
    _, output = timed(1.0)
    assert output.looks is not None
    assert output.looks.new_images["latency"] == taken
