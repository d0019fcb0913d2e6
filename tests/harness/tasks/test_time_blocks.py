"""The time task repeats a block that other work disturbed, at most twice, and keeps every repetition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from kit import sleep_kit

from harness.measure.call_times import CallTimer
from harness.measure.device import CallTiming
from harness.rows.times import time_columns
from harness.sampling.place import Place
from harness.sampling.sampler import Sampler
from harness.specs.rules.timing import MOST_REPEATS, TIERS
from harness.specs.time import GpuState, TimeOutput, TimeSpec
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
    monkeypatch.setattr(time_task, "energy_window", lambda device: 0.0)
    monkeypatch.setattr(time_task, "idle_watts", lambda device: None)
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


class Gauges:
    """A GPU that is throttled in blocks by number, and tells its state."""

    foreign_check = "processes"

    def __init__(self, hot: Sequence[bool], before: Sequence[int] = ()) -> None:
        self._hot, self._before, self._block = hot, before, -1

    def read_idle(self) -> GpuState:
        self._block += 1
        foreign = self._before[self._block] if self._block < len(self._before) else 0
        return GpuState(foreign_processes=foreign, throttle="")

    def read(self) -> GpuState:
        hot = self._hot[min(self._block, len(self._hot) - 1)]
        return GpuState(
            sm_clock_mhz=900.0 if hot else 1980.0, temperature_celsius=60.0 + self._block, power_watts=300.0,
            power_capped=False, throttle="hardware thermal slowdown" if hot else "", foreign_processes=0,
            neighbours_load=0.5,
        )  # fmt: skip

    def sharing(self) -> str:
        return "MIG"

    def power_limit_watts(self) -> float:
        return 700.0


@pytest.mark.parametrize(
    ("hot", "before", "blocks", "counted"),
    [
        ([False], [0], 1, 0),
        ([True, False], [0, 0], 2, 1),
        ([False], [1, 0], 2, 1),  # another process was there before the first block
        ([True], [0], 3, 0),
    ],
)
def test_a_block_that_nvml_voids_is_repeated_and_its_state_is_kept(
    timed: Timed, monkeypatch: pytest.MonkeyPatch, hot: list[bool], before: list[int], blocks: int, counted: int
) -> None:
    monkeypatch.setattr(time_task, "GpuGauges", lambda device: Gauges(hot, before))
    judge = time_task.judge_block
    monkeypatch.setattr(
        time_task, "judge_block",
        lambda calls, seconds, device, ranks, state: judge(calls, seconds, torch.device("cuda"), ranks, state),
    )  # fmt: skip
    _, output = timed(1.0)
    assert (len(output.blocks), output.counted) == (blocks, counted)
    assert (output.foreign_check, output.gpu_sharing, output.power_limit_watts) == ("processes", "MIG", 700.0)

    row = time_columns(output)
    cool = not all(hot)
    assert (row["throttled_share"] == 0) == cool
    assert row["foreign_share"] == 0.0
    expected = {
        "sm_clock_mhz": 1980.0 if cool else 900.0, "temperature_celsius": 60.0 + counted, "power_watts": 300.0,
        "power_limit_watts": 700.0, "power_capped_share": 0.0, "neighbours_load": 0.5, "gpu_sharing": "MIG",
        "foreign_check": "processes",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_what_comes_before_the_first_image_and_after_the_last_is_recorded(
    timed: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_task, "idle_watts", lambda device: 55.0)
    _, output = timed(1.0)
    assert output.load_seconds == 0.5  # what the clock of these tests gives to calls after its first block
    assert (output.idle_watts, output.compile_seconds, output.alone) == (55.0, None, "node")
    assert output.threads == 1
    assert (output.usable_cores or 0) >= 1
    assert {(one.role, one.kind, one.calls, one.is_steady) for one in output.warm_ups} == {
        (role, kind, 1, None) for role in ("trial", "baseline") for kind in ("latency", "throughput")
    }
    assert output.warm_up_calls == 1
    assert output.warm_up_memory_bytes == output.peak_memory_bytes is None or output.warm_up_memory_bytes > 0


def test_a_warm_up_makes_the_calls_that_are_timed_with_other_images(
    timed: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same path: batches of the same sizes through the same function, and no index of a scored image."""
    seen: list[tuple[int, bool]] = []
    images = Sampler.images

    def noted(self: Sampler, indices: Any, *more: Any) -> Any:
        seen.append((len(indices), min(indices) < 8))
        return images(self, indices, *more)

    monkeypatch.setattr(Sampler, "images", noted)
    timed(1.0)
    first_timed = next(place for place, (_, is_scored) in enumerate(seen) if is_scored)
    warm, rounds = seen[:first_timed], seen[first_timed : first_timed + CALLS]
    assert {size for size, _ in warm} == {size for size, _ in rounds} == {1, 2}
    assert not any(is_scored for _, is_scored in warm)
    assert all(is_scored for _, is_scored in rounds)


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
