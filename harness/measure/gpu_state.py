"""The state of a GPU by NVML while it is timed: clock, heat, power, throttling, other processes, neighbours.

NVML is an optional library, and drivers and containers refuse parts of it. Each reading is taken for itself: one that
fails, the first time or a later one, leaves its place empty.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from harness.measure.device import open_nvml
from harness.measure.device_names import uses_mps
from harness.specs.rules.timing import FOREIGN_LOAD, FOREIGN_MEMORY, IDLE_LOOK, POWER_CAP, THROTTLE_REASONS
from harness.specs.time import GpuState

_MPS_SERVER = "nvidia-cuda-mps-server"
_SM_CLOCK, _CORE_TEMPERATURE = 1, 0
"""NVML's numbers of a clock and of a sensor."""
Value = TypeVar("Value")


class GpuGauges:
    """Reads the state of one device between timed calls, in the process that times; on a CPU all is None.

    A reading takes some hundred microseconds on the host, and never happens within a timed call.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_gpu = device.type == "cuda"
        opened = _value_or_none(lambda: open_nvml(device)) if self._is_gpu else None
        self._nvml: Any = opened and opened[0]
        self._handle: Any = opened and opened[1]
        self.foreign_check = self._find_check() if self._is_gpu else ""
        """How other processes are looked for: "processes", "memory and idle load", "memory", "none", or "" on a CPU."""

    def read(self) -> GpuState:
        """Return the state now."""
        if not self._is_gpu:
            return GpuState()
        bits = self._reasons()
        power = self._ask(lambda nvml, own: nvml.nvmlDeviceGetPowerUsage(own))
        clock = self._ask(lambda nvml, own: nvml.nvmlDeviceGetClockInfo(own, _SM_CLOCK))
        heat = self._ask(lambda nvml, own: nvml.nvmlDeviceGetTemperature(own, _CORE_TEMPERATURE))
        return GpuState(
            sm_clock_mhz=None if clock is None else float(clock),
            temperature_celsius=None if heat is None else float(heat),
            power_watts=None if power is None else power / 1e3,
            power_capped=None if bits is None else bool(bits & POWER_CAP),
            throttle=None if bits is None else ", ".join(name for bit, name in THROTTLE_REASONS.items() if bits & bit),
            foreign_processes=self._count_foreign(),
            neighbours_load=self._ask(_neighbours_load),
        )

    def read_idle(self) -> GpuState:
        """Return the state before a block, while this process lets the device rest.

        Where NVML does not list processes, this waits a second, to see whether others keep the device busy.
        """
        if not self._is_gpu:
            return GpuState()
        torch.cuda.synchronize(self._device)
        if self.foreign_check != "memory and idle load":
            return self.read()
        time.sleep(IDLE_LOOK)
        load = self._ask(lambda nvml, own: nvml.nvmlDeviceGetUtilizationRates(own).gpu / 100)
        found = self.read()
        is_busy = load is not None and load > FOREIGN_LOAD
        return found.model_copy(update={"foreign_processes": 1}) if is_busy else found

    def sharing(self) -> str:
        """Return "MIG" or "MPS" where the device is a share of a GPU, else ""."""
        if not self._is_gpu:
            return ""
        if self._ask(lambda nvml, own: nvml.nvmlDeviceIsMigDeviceHandle(own)):
            return "MIG"
        listed = self._ask(lambda nvml, own: nvml.nvmlDeviceGetMPSComputeRunningProcesses(own))
        return "MPS" if listed or uses_mps() else ""

    def power_limit_watts(self) -> float | None:
        """Return the limit of its power that holds now, in watts."""
        limit = self._ask(lambda nvml, own: nvml.nvmlDeviceGetEnforcedPowerLimit(own))
        return None if limit is None else limit / 1e3

    def _ask(self, query: Callable[[Any, Any], Value]) -> Value | None:
        return None if self._nvml is None else _value_or_none(lambda: query(self._nvml, self._handle))

    def _reasons(self) -> int | None:
        """Return the bits of why its clock is not the highest; before 2023 the query had another name."""

        def read(nvml: Any, own: Any) -> int:
            query = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
            return int((query or nvml.nvmlDeviceGetCurrentClocksThrottleReasons)(own))

        return self._ask(read)

    # Other processes

    def _find_check(self) -> str:
        if self._listed():
            return "processes"
        if self._unexplained_bytes() is None:
            return "none"
        load = self._ask(lambda nvml, own: nvml.nvmlDeviceGetUtilizationRates(own).gpu)
        return "memory" if load is None else "memory and idle load"

    def _count_foreign(self) -> int | None:
        if self.foreign_check == "processes":
            listed = self._listed()
            if listed is None:
                return None
            # in a container the own process may have another id: one of those listed is taken for it
            return len(listed - {os.getpid()}) - (bool(listed) and os.getpid() not in listed)
        used = self._unexplained_bytes()
        return None if used is None else int(used > FOREIGN_MEMORY)

    def _listed(self) -> set[int] | None:
        """Return the ids of the processes that compute on the device, without the server of MPS."""

        def read(nvml: Any, own: Any) -> set[int]:
            return {one.pid for one in nvml.nvmlDeviceGetComputeRunningProcesses(own)}

        listed = self._ask(read)
        return None if listed is None else {pid for pid in listed if not self._is_mps_server(pid)}

    def _is_mps_server(self, pid: int) -> bool:
        name = self._ask(lambda nvml, own: nvml.nvmlSystemGetProcessName(pid))
        return _MPS_SERVER in (name.decode() if isinstance(name, bytes) else str(name))

    def _unexplained_bytes(self) -> int | None:
        """Return the device's memory in use beyond what torch holds here."""

        def read() -> int:
            free, total = torch.cuda.mem_get_info(self._device)
            return int(total - free - torch.cuda.memory_reserved(self._device))

        return _value_or_none(read)


def count_foreign_processes(device: torch.device) -> int | None:
    """Return how many other processes compute on a GPU now; None on a CPU and where it is not known."""
    return GpuGauges(device).read().foreign_processes


def _neighbours_load(nvml: Any, own: Any) -> float | None:
    """Return the mean load of the host's other GPUs, those included that this process may not use."""
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    name = nvml.nvmlDeviceGetUUID(own)
    others = [one for one in handles if nvml.nvmlDeviceGetUUID(one) != name]
    found = [float(nvml.nvmlDeviceGetUtilizationRates(one).gpu) / 100 for one in others]
    return sum(found) / len(found) if found else None


def _value_or_none(query: Callable[[], Value]) -> Value | None:
    try:
        return query()
    except Exception:  # the library is optional, and old cards, slices and containers refuse parts of it
        return None
