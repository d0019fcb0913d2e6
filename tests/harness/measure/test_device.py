"""What a device tells of itself: a clock that is right, memory that was used, energy that was spent."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from harness.measure.device import EnergyMeter, MemoryPeak, MemoryUse, measure_memory, timed_call

CPU = torch.device("cpu")
MEBI = 1 << 20


def test_a_sleep_is_measured_for_what_it_is() -> None:
    readings = []
    while len(readings) < 100 and (not readings or readings[-1].seconds >= 0.06):  # a busy machine wakes sleepers late
        readings.append(timed_call(lambda: time.sleep(0.05), CPU)[1])
    assert 0.05 <= min(r.seconds for r in readings) < 0.06
    assert min(r.process_seconds for r in readings) < 0.02
    assert readings[0].device_seconds is None


def test_the_clock_hands_on_what_the_call_returned() -> None:
    assert timed_call(lambda: 17, CPU)[0] == 17


def test_a_jump_of_the_wall_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: -1e9)
    assert 0 <= timed_call(lambda: None, CPU)[1].seconds < 10


def peak(call: object) -> int:
    found = measure_memory(call, CPU).allocated  # type: ignore[arg-type]
    if found is None:
        pytest.skip("this kernel does not let a process reset its high-water mark")
    return found


def test_peak_memory_sees_what_a_call_allocates() -> None:
    idle = peak(lambda: None)
    used = peak(lambda: torch.ones(200 * MEBI, dtype=torch.uint8))
    assert 190 * MEBI < used - idle < 260 * MEBI


def test_peak_memory_does_not_see_what_was_freed_before() -> None:
    idle = peak(lambda: None)
    torch.ones(200 * MEBI, dtype=torch.uint8)
    assert peak(lambda: None) - idle < 50 * MEBI


def test_a_peak_that_goes_on_holds_all_since_it_began() -> None:
    peak_of_all = MemoryPeak(CPU)
    torch.ones(200 * MEBI, dtype=torch.uint8)
    used = peak_of_all.read().allocated
    if used is None:
        pytest.skip("this kernel does not let a process reset its high-water mark")
    assert used - peak(lambda: None) > 150 * MEBI


def test_on_a_gpu_memory_is_what_tensors_had_what_torch_held_and_what_all_processes_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []
    found = {"max_memory_allocated": 5, "max_memory_reserved": 8, "mem_get_info": (20, 50)}
    for name, value in found.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    for name in ("reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: log.append(name))
    assert measure_memory(lambda: log.append("call"), torch.device("cuda")) == MemoryUse(5, 8, 30)
    assert log == ["reset_peak_memory_stats", "call", "synchronize"]


def rapl(folder: Path, microjoules: int) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("10000000\n")
    return folder


def test_energy_is_read_in_joules_and_survives_wrapping(tmp_path: Path) -> None:
    meter = EnergyMeter(CPU, rapl(tmp_path / "rapl", 4_000_000))
    read = [meter.joules()]
    for counter in (9_000_000, 1_000_000, 6_000_000, 2_000_000):  # wraps twice at 10 J
        rapl(tmp_path / "rapl", counter)
        read.append(meter.joules())
    assert read == [4.0, 9.0, 11.0, 16.0, 22.0]


@pytest.mark.parametrize("spoiled", ["energy_uj", "max_energy_range_uj", None])
def test_a_device_that_does_not_tell_its_energy_has_none(tmp_path: Path, spoiled: str | None) -> None:
    folder = rapl(tmp_path / "rapl", 1)
    if spoiled is None:
        folder = tmp_path / "absent"
    else:
        (folder / spoiled).unlink()
    assert EnergyMeter(CPU, folder).joules() is None


def test_energy_counter_that_holds_no_number_is_no_energy(tmp_path: Path) -> None:
    folder = rapl(tmp_path / "rapl", 1)
    (folder / "energy_uj").write_text("not supported\n")
    assert EnergyMeter(CPU, folder).joules() is None
