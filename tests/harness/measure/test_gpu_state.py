"""What NVML tells of a GPU between timed calls, and what is known where it refuses."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.fake_nvml import GPU, OTHER, OWN, FakeNvml, install, load, processes

from harness.measure.device import EnergyMeter
from harness.measure.device_names import name_mps_share, uses_mps
from harness.measure.gpu_state import GpuGauges, count_foreign_processes
from harness.specs.rules.timing import FOREIGN_MEMORY, IDLE_LOOK
from harness.specs.time import GpuState

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that were slept, which take no time."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def gauges(monkeypatch: pytest.MonkeyPatch, used: int | None = 0, reserved: int = 0, **given: Any) -> GpuGauges:
    install(monkeypatch, FakeNvml(**given), used, reserved)
    return GpuGauges(GPU)


def test_a_reading_holds_clock_heat_power_and_who_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"DeviceGetCount": 3, "DeviceGetUtilizationRates": load(0.9, 0.5, 0.0)}
    found = gauges(monkeypatch, **others)
    assert found.read() == GpuState(
        sm_clock_mhz=1980.0, temperature_celsius=61.0, power_watts=312.5, power_capped=False, throttle="",
        foreign_processes=0, neighbours_load=0.25,
    )  # fmt: skip
    assert (found.foreign_check, found.sharing(), found.power_limit_watts()) == ("processes", "", 700.0)


def test_nothing_is_known_on_a_cpu_and_memory_alone_without_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeNvml())
    assert (GpuGauges(CPU).read(), GpuGauges(CPU).read_idle(), GpuGauges(CPU).foreign_check) == (
        GpuState(), GpuState(), "",
    )  # fmt: skip
    assert (GpuGauges(CPU).sharing(), GpuGauges(CPU).power_limit_watts()) == ("", None)
    install(monkeypatch, None, used=FOREIGN_MEMORY + 1)
    assert (GpuGauges(GPU).read(), GpuGauges(GPU).foreign_check) == (GpuState(foreign_processes=1), "memory")
    install(monkeypatch, None, used=None)
    assert (GpuGauges(GPU).read(), GpuGauges(GPU).foreign_check) == (GpuState(), "none")
    assert count_foreign_processes(CPU) is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("DeviceGetClockInfo", "sm_clock_mhz"), ("DeviceGetTemperature", "temperature_celsius"),
        ("DeviceGetPowerUsage", "power_watts"), ("DeviceGetCurrentClocksEventReasons", "throttle"),
        ("DeviceGetUUID", "neighbours_load"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [1, 2])
def test_a_query_that_is_refused_at_once_or_at_the_second_reading_leaves_its_place_empty(
    monkeypatch: pytest.MonkeyPatch, query: str, field: str, at: int
) -> None:
    first_call = {"DeviceGetUUID": 3}.get(query, 1)  # three calls for two GPUs
    number = 1 if at == 1 else first_call + 1
    found = gauges(
        monkeypatch, fails_at={query: number}, DeviceGetCount=2, DeviceGetUtilizationRates=load(0.0, 0.5)
    )  # fmt: skip
    readings = [found.read().model_dump() for _ in range(2)]
    assert (readings[0][field] is None) == (at == 1)
    assert readings[1][field] is None
    others = set(readings[1]) - {field} - ({"power_capped"} if field == "throttle" else set())
    assert all(readings[1][name] is not None for name in others)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("bits", "throttle", "capped"),
    [
        (0x1 | 0x2 | 0x10 | 0x100, "", False),  # idle and settings are no disturbance
        (0x4, "", True),  # a power limit is part of the device
        (0x8 | 0x4, "hardware slowdown", True),
        (0x20 | 0x40, "software thermal slowdown, hardware thermal slowdown", False),
        (0x80, "hardware power brake", False),
    ],
)
def test_heat_and_faults_of_power_are_throttling(
    monkeypatch: pytest.MonkeyPatch, bits: int, throttle: str, capped: bool, old: bool
) -> None:
    name = "DeviceGetCurrentClocksThrottleReasons" if old else "DeviceGetCurrentClocksEventReasons"
    found = gauges(monkeypatch, old=old, **{name: bits}).read()
    assert (found.throttle, found.power_capped) == (throttle, capped)


@pytest.mark.parametrize(
    ("pids", "foreign"), [([OWN], 0), ([OWN, OTHER], 1), ([OTHER], 0), ([OTHER, OTHER + 1], 1)]
)  # in a container the own process is listed under another id
def test_other_processes_on_the_gpu_are_counted(monkeypatch: pytest.MonkeyPatch, pids: list[int], foreign: int) -> None:
    found = gauges(monkeypatch, DeviceGetComputeRunningProcesses=processes(*pids))
    assert (found.foreign_check, found.read().foreign_processes) == ("processes", foreign)
    assert count_foreign_processes(GPU) == foreign


def test_a_list_that_fails_later_is_not_known_then(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gauges(monkeypatch, fails_at={"DeviceGetComputeRunningProcesses": 3})
    assert [found.read().foreign_processes for _ in range(2)] == [0, None]


GIB = 1 << 30


@pytest.mark.parametrize(
    "hidden", [{"DeviceGetComputeRunningProcesses": []}, {"refused": ["DeviceGetComputeRunningProcesses"]}]
)
@pytest.mark.parametrize(
    ("used", "reserved", "busy", "foreign"),
    [(GIB, 0, 0.0, 0), (30 * GIB, 29 * GIB, 0.0, 0), (30 * GIB, 20 * GIB, 0.0, 1), (GIB, 0, 0.5, 1)],
)
def test_where_processes_are_not_listed_memory_and_load_at_rest_stand_for_them(
    monkeypatch: pytest.MonkeyPatch, naps: list[float], hidden: dict[str, Any], used: int, reserved: int, busy: float,
    foreign: int,
) -> None:  # fmt: skip
    found = gauges(monkeypatch, used, reserved, DeviceGetUtilizationRates=load(busy), **hidden)
    assert found.foreign_check == "memory and idle load"
    assert found.read_idle().foreign_processes == foreign
    assert naps == [IDLE_LOOK]
    assert found.read().foreign_processes == int(used - reserved > FOREIGN_MEMORY)  # its own load tells nothing


def test_before_a_block_no_time_is_lost_where_processes_are_listed(
    monkeypatch: pytest.MonkeyPatch, naps: list[float]
) -> None:
    assert gauges(monkeypatch).read_idle().foreign_processes == 0
    assert naps == []


def test_slices_and_shared_gpus_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def only_slices(uuid: str) -> int:
        asked.append(uuid)
        if uuid.startswith("GPU"):
            raise RuntimeError("not found")
        return 0

    assert gauges(monkeypatch, DeviceIsMigDeviceHandle=1, DeviceGetHandleByUUID=only_slices).sharing() == "MIG"
    assert asked == ["GPU-some-uuid", "MIG-some-uuid"]
    assert gauges(monkeypatch, DeviceGetMPSComputeRunningProcesses=processes(OWN)).sharing() == "MPS"
    assert gauges(monkeypatch).sharing() == ""
    assert not uses_mps()
    (tmp_path / "control").touch()
    assert uses_mps()
    assert gauges(monkeypatch).sharing() == "MPS"
    assert (name_mps_share(None), name_mps_share("50")) == (" under MPS", " under MPS (50 % of its threads)")


def test_the_server_of_mps_is_no_foreign_process(monkeypatch: pytest.MonkeyPatch) -> None:
    server = OTHER + 7
    names = {"SystemGetProcessName": lambda pid: b"nvidia-cuda-mps-server" if pid == server else b"python"}
    for pids, foreign in (((OWN, server), 0), ((OWN, server, OTHER), 1)):
        found = gauges(monkeypatch, DeviceGetComputeRunningProcesses=processes(*pids), **names)
        assert found.read().foreign_processes == foreign


def test_an_energy_counter_that_fails_at_a_later_reading_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        monkeypatch, FakeNvml(DeviceGetTotalEnergyConsumption=7_000, fails_at={"DeviceGetTotalEnergyConsumption": 3})
    )
    meter = EnergyMeter(GPU)
    assert [meter.joules(), meter.joules()] == [7.0, None]
    install(monkeypatch, FakeNvml(refused=["DeviceGetTotalEnergyConsumption"]))
    assert EnergyMeter(GPU).joules() is None
