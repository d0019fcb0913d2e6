"""Device queries: name, synchronised timing, peak memory, energy, clock and temperature."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class CallTiming:
    """Seconds of one call: by the wall clock, by the process's CPU clock and, on a GPU, by the device's events."""

    seconds: float
    process_seconds: float
    device_seconds: float | None


def device_name(device: torch.device) -> str:
    """Return the maker's name of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name()


@cache
def cpu_name() -> str:
    """Return the processor's model name, or its architecture where the system does not say."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def own_seconds(timing: CallTiming, by_cpu: bool) -> float:
    """Return the CPU seconds of a call on a CPU, which other work hardly changes, else its wall seconds."""
    return timing.process_seconds if by_cpu and timing.process_seconds is not None else timing.seconds


def timed_call(call: Callable[[], Any], device: torch.device) -> tuple[Any, CallTiming]:
    """Return the call's result and how long it took; the device is synchronised before both readings."""
    if device.type != "cuda":
        cpu, wall = time.process_time(), time.perf_counter()
        result = call()
        return result, CallTiming(time.perf_counter() - wall, time.process_time() - cpu, None)

    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(device)
    cpu, wall = time.process_time(), time.perf_counter()
    first.record()
    result = call()
    last.record()
    torch.cuda.synchronize(device)
    seconds, busy = time.perf_counter() - wall, time.process_time() - cpu
    return result, CallTiming(seconds, busy, first.elapsed_time(last) / 1e3)


def measure_peak_memory(call: Callable[[], Any], device: torch.device) -> int | None:
    """Return the peak memory in bytes while the call ran: allocated on a GPU, resident set of the process on a CPU.

    On Linux the kernel's high-water mark is reset first. Elsewhere the result on a CPU is None: the mark of a process
    never goes down.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device))
    if not _reset_high_water_mark():
        return None
    call()
    return _high_water_mark()


def _reset_high_water_mark() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _high_water_mark() -> int | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


class EnergyMeter:
    """Cumulative energy of a device in joules: NVML's counter on a GPU, RAPL's package counter on a CPU, or none."""

    def __init__(self, device: torch.device, rapl: Path = Path("/sys/class/powercap/intel-rapl:0")) -> None:
        self._read = _nvml_energy(device) if device.type == "cuda" else _rapl_energy(rapl)

    def joules(self) -> float | None:
        """Return the counter, or None where the device has none."""
        return None if self._read is None else self._read()


def _nvml_energy(device: torch.device) -> Callable[[], float] | None:
    try:
        pynvml, handle = open_nvml(device)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # the library is optional, and old cards or containers refuse the counter
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3


def open_nvml(device: torch.device) -> tuple[Any, Any]:
    """Return NVML's module, initialised, and its handle of a GPU; any error means that there is none."""
    import pynvml

    pynvml.nvmlInit()
    return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")


def _rapl_energy(folder: Path) -> Callable[[], float] | None:
    counter = folder / "energy_uj"
    try:
        state = {"last": int(counter.read_text()), "wraps": 0}
        limit = int((folder / "max_energy_range_uj").read_text())
    except (OSError, ValueError):
        return None

    def read() -> float:
        now = int(counter.read_text())
        if now < state["last"]:
            state["wraps"] += 1
        state["last"] = now
        return (now + state["wraps"] * limit) / 1e6

    return read


def clock_and_temperature(device: torch.device) -> dict[str, float | None]:
    """Return the clock (MHz) and temperature (Celsius) of a GPU, or None for each that is not available."""
    if device.type != "cuda":
        return {"sm_clock_mhz": None, "temperature_celsius": None}
    return {
        "sm_clock_mhz": _value_or_none(lambda: float(torch.cuda.clock_rate(device))),
        "temperature_celsius": _value_or_none(lambda: float(torch.cuda.temperature(device))),
    }


def _value_or_none(query: Callable[[], float]) -> float | None:
    try:
        return query()
    except Exception:  # nvidia-ml-py is optional
        return None
