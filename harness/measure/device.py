"""Device queries: synchronised timing, peak memory, energy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class CallTiming:
    """Seconds of one call: by the wall clock, by the process's CPU clock and, on a GPU, by the device's events."""

    seconds: float
    process_seconds: float
    device_seconds: float | None


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of a device's memory; None for what is not known there."""

    allocated: int | None = None
    """Peak of what tensors had on a GPU, of the resident set of the process on a CPU."""
    reserved: int | None = None
    """Peak of what torch held on a GPU for tensors, used or not."""
    device_used: int | None = None
    """In use on a GPU by all processes, libraries included, when it was read."""


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


class MemoryPeak:
    """The peak memory of a device since this was made: allocated on a GPU, resident set of the process on a CPU.

    On Linux the kernel's high-water mark is reset first. Elsewhere nothing is known on a CPU: the mark of a process
    never goes down.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_known = True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            self._is_known = _reset_high_water_mark()

    def read(self) -> MemoryUse:
        """Return the peaks so far, in bytes."""
        if self._device.type != "cuda":
            return MemoryUse(_high_water_mark() if self._is_known else None)
        torch.cuda.synchronize(self._device)
        free, total = torch.cuda.mem_get_info(self._device)
        return MemoryUse(
            int(torch.cuda.max_memory_allocated(self._device)),
            int(torch.cuda.max_memory_reserved(self._device)),
            total - free,
        )


def measure_memory(call: Callable[[], Any], device: torch.device) -> MemoryUse:
    """Return the peak memory of a device while the call ran."""
    peak = MemoryPeak(device)
    call()
    return peak.read()


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
        """Return the counter, or None where the device has none, or does not tell it this time."""
        try:
            return None if self._read is None else self._read()
        except Exception:  # a counter that was there may be refused later, as after a reset of the driver
            return None


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
    uuid = torch.cuda.get_device_properties(device).uuid
    try:
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except Exception:  # a slice of a GPU has an id of its own
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")


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
