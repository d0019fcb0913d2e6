"""Which calls and blocks count as disturbed: by own CPU seconds on a CPU, by NVML on a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.measure.disturbance import clock_drift, counted_block, cpu_shares, judge_block
from harness.specs.time import GpuState, Repetition, TimedBlock

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def call(share: float | None = 1.0, role: str = "trial", number: int = 0, **changes: Any) -> Repetition:
    known: dict[str, Any] = {
        "kind": "latency", "role": role, "block": 0, "round": number, "order": number, "batch": 1, "seconds": 2.0,
        "process_seconds": None if share is None else 2.0 * share, "device_seconds": None, "sm_clock_mhz": None,
        "temperature_celsius": None, "foreign_processes": None, "throttle": None,
    }  # fmt: skip
    return Repetition(**{**known, **changes})


def block(*shares: float | None, device: torch.device = CPU, ranks: int = 1) -> TimedBlock:
    return judge_block([call(share, number=n) for n, share in enumerate(shares)], 9.0, device, ranks)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def test_a_block_is_disturbed_by_more_than_a_fifth_of_calls_below_nine_tenths_of_a_core() -> None:
    assert block(0.9, 0.9, 1.0, 1.0, 1.0).disturbed == ""
    assert block(0.89, 1.0, 1.0, 1.0, 1.0).disturbed == ""  # a fifth is not more
    assert block(0.89, 0.89, 1.0, 1.0, 1.0).disturbed == "had less than 90 % of its core in 40 % of the calls"
    found = block(0.61, 0.5, 0.62, 1.0, 0.3)
    assert found == TimedBlock(rounds=5, seconds=9.0, cpu_share=0.61, disturbed_share=0.8, disturbed=found.disturbed)
    assert found.disturbed == "had 61 % of its core"


def test_cpu_seconds_that_are_not_known_or_exceed_the_wall_count_as_a_whole_core() -> None:
    assert cpu_shares([call(None), call(1.4), call(0.7)]) == [1.0, 1.0, 0.7]


def test_of_several_ranks_only_the_calls_that_rank_zero_makes_alone_are_judged() -> None:
    waits = [call(0.3, number=n) for n in range(10)]
    alone = [call(1.0, role, n) for n in range(10) for role in ("baseline", "serial")]
    assert judge_block([*waits, *alone], 1.0, CPU, ranks=2).disturbed == ""
    assert judge_block([*waits, *alone], 1.0, CPU, ranks=1).disturbed != ""
    starved = [call(0.5, role, n) for n in range(10) for role in ("baseline", "serial")]
    assert judge_block([*waits, *starved], 1.0, CPU, ranks=2).disturbed == "had 50 % of its core"


def test_with_several_threads_a_call_is_compared_with_the_cores_that_its_kind_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = [call(3.0, number=n) for n in range(8)] + [call(1.5, number=n) for n in (8, 9)]
    serial = [call(1.0, "baseline", n) for n in range(10)]
    assert set(cpu_shares(calls)) == {1.0}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert cpu_shares([*calls, *serial]) == pytest.approx([1.0] * 8 + [0.5] * 2 + [1.0] * 10)


def quality(share: float, disturbed: str) -> TimedBlock:
    return TimedBlock(rounds=6, seconds=1.0, cpu_share=1.0, disturbed_share=share, disturbed=disturbed)


@pytest.mark.parametrize(
    ("blocks", "counted"),
    [
        ([("", 0.1)], 0),
        ([("had", 0.3), ("", 0.19)], 1),
        ([("had", 0.9), ("had", 0.3), ("had", 0.5)], 1),
        ([("had", 0.4), ("had", 0.4), ("had", 0.4)], 0),
        ([("had", 0.9), ("had", 0.3), ("", 0.2)], 2),
    ],
)
def test_the_first_undisturbed_block_counts_else_the_least_disturbed(
    blocks: list[tuple[str, float]], counted: int
) -> None:
    assert counted_block([quality(share, text) for text, share in blocks]) == counted


def on_gpu(shared: int, throttled: int, known: bool = True, before: GpuState | None = None) -> TimedBlock:
    """Return a block of ten calls, of which the first had another process there, or were throttled."""
    calls = [
        call(
            0.2, number=n, foreign_processes=int(n < shared) if known else None,
            throttle=("hardware slowdown" if n < throttled else "") if known else None,
        )
        for n in range(10)
    ]  # fmt: skip
    return judge_block(calls, 1.0, GPU, 1, before)


def test_a_block_on_a_gpu_is_void_by_a_single_reading_of_nvml() -> None:
    assert on_gpu(0, 0).disturbed == on_gpu(9, 9, known=False).disturbed == ""
    assert on_gpu(1, 0).disturbed == "shared its GPU with another process in 10 % of the readings"
    assert on_gpu(0, 4).disturbed == "its GPU was throttled in 40 % of the readings (hardware slowdown)"
    assert on_gpu(3, 4).disturbed.count(";") == 1
    assert (on_gpu(3, 4).foreign_share, on_gpu(3, 4).throttled_share) == (0.3, 0.4)
    unknown = on_gpu(9, 9, known=False)
    assert (unknown.foreign_share, unknown.throttled_share) == (None, None)


def test_what_was_there_when_a_block_began_voids_it_too() -> None:
    assert on_gpu(0, 0, before=GpuState(foreign_processes=0, throttle="")).disturbed == ""
    found = on_gpu(0, 0, before=GpuState(foreign_processes=1, throttle=""))
    assert found.disturbed == "shared its GPU with another process in 9 % of the readings"
    assert found.foreign_share == pytest.approx(1 / 11)
    assert on_gpu(0, 0, known=False, before=GpuState(throttle="hardware slowdown")).throttled_share == 1.0


def rounds(late: float, count: int = 12, kinds: tuple[str, ...] = ("latency", "throughput")) -> list[Repetition]:
    """Return rounds in whose second half calls of the clock take so many times as long."""
    return [
        call(role=role, number=n, kind=kind, seconds=2.0 * (late if role == "baseline" and 2 * n >= count else 1.0))
        for n in range(count)
        for role in ("trial", "baseline")
        for kind in kinds
    ]


def test_a_clock_that_moves_voids_a_block_on_a_gpu_and_is_recorded_on_a_cpu() -> None:
    for device, sentence in ((GPU, "the clock trial's time moved by +4.0 %"), (CPU, "")):
        found = judge_block(rounds(1.04), 1.0, device, ranks=1)
        assert found.clock_drift == pytest.approx(0.04)
        assert found.disturbed == sentence
        assert judge_block(rounds(1.02), 1.0, device, ranks=1).disturbed == ""
    assert judge_block(rounds(0.9), 1.0, GPU, ranks=1).disturbed == "the clock trial's time moved by -10.0 %"


def test_drift_is_the_mean_of_the_kinds_and_unknown_for_few_rounds_or_without_a_clock() -> None:
    mixed = [*rounds(1.21, kinds=("latency",)), *rounds(1.0, kinds=("throughput",))]
    assert clock_drift(mixed) == pytest.approx(0.1)
    assert clock_drift(rounds(1.5, count=10)) is None
    assert clock_drift([one for one in rounds(1.5) if one.role == "trial"]) is None
