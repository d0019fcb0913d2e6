"""Which calls and blocks count as disturbed: by own CPU seconds on a CPU, by NVML on a GPU."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.measure.disturbance import counted_block, cpu_shares, judge_block, read_gpu_load
from harness.specs.time import Repetition, TimedBlock

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


class FakeNvml:
    """NVML of one GPU: who computes there, and its clocks event reasons."""

    def __init__(self, pids: list[int] | None, bits: int | None, old: bool = False) -> None:
        self._pids, self._bits = pids, bits
        name = "nvmlDeviceGetCurrentClocksThrottleReasons" if old else "nvmlDeviceGetCurrentClocksEventReasons"
        setattr(self, name, self._reasons)

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        assert uuid == "GPU-some-uuid"
        return "handle"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:
        if self._pids is None:
            raise RuntimeError("refused")
        return [SimpleNamespace(pid=pid) for pid in self._pids]

    def _reasons(self, handle: str) -> int:
        assert handle == "handle"
        if self._bits is None:
            raise RuntimeError("refused")
        return self._bits


def load(monkeypatch: pytest.MonkeyPatch, nvml: Any, device: torch.device = GPU) -> dict[str, Any]:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="some-uuid"))
    return read_gpu_load(device)


OWN, OTHER = os.getpid(), 1 << 30


@pytest.mark.parametrize(
    ("pids", "foreign"),
    [([OWN], 0), ([OWN, OTHER], 1), ([], 0), ([OTHER], 0), ([OTHER, OTHER + 1], 1), (None, None)],
)  # in a container the own process is listed under another id
def test_other_processes_on_the_gpu_are_counted(
    monkeypatch: pytest.MonkeyPatch, pids: list[int] | None, foreign: int | None
) -> None:
    assert load(monkeypatch, FakeNvml(pids, 0)) == {"foreign_processes": foreign, "throttle": ""}


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("bits", "throttle"),
    [
        (0x1 | 0x2 | 0x4 | 0x10 | 0x100, ""),  # idle, settings and the power cap are no disturbance
        (0x8 | 0x4, "hardware slowdown"),
        (0x20 | 0x40, "software thermal slowdown, hardware thermal slowdown"),
        (0x80, "hardware power brake"),
        (None, None),
    ],
)
def test_heat_and_faults_of_power_are_throttling(
    monkeypatch: pytest.MonkeyPatch, bits: int | None, throttle: str | None, old: bool
) -> None:
    assert load(monkeypatch, FakeNvml([OWN], bits, old)) == {"foreign_processes": 0, "throttle": throttle}


def test_without_nvml_or_on_a_cpu_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = {"foreign_processes": None, "throttle": None}
    assert load(monkeypatch, None) == unknown  # the import fails
    assert load(monkeypatch, FakeNvml([OWN, OTHER], 0x8), CPU) == unknown


def test_a_block_on_a_gpu_is_judged_by_nvml_alone() -> None:
    def judged(shared: int, throttled: int, known: bool = True) -> str:
        calls = [
            call(
                0.2, number=n, foreign_processes=int(n < shared) if known else None,
                throttle=("hardware slowdown" if n < throttled else "") if known else None,
            )
            for n in range(10)
        ]  # fmt: skip
        return judge_block(calls, 1.0, GPU, ranks=1).disturbed

    assert judged(0, 0) == judged(2, 2) == judged(9, 9, known=False) == ""
    assert judged(3, 0) == "shared its GPU with another process in 30 % of the calls"
    assert judged(0, 4) == "its GPU was throttled in 40 % of the calls (hardware slowdown)"
    assert judged(3, 4).count(";") == 1
