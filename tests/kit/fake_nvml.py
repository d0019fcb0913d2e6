"""NVML as a machine with GPUs has it, on one without: each query answers what a test says, or is refused."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import pytest
import torch

GPU = torch.device("cuda")
OWN, OTHER = os.getpid(), 1 << 30
"""Ids of processes: this one, and one that is not there."""
_REASONS = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")


def load(*shares: float) -> Callable[[int], Any]:
    """Return what gives the load of GPUs, by their handles from 0."""
    return lambda handle: SimpleNamespace(gpu=100 * shares[handle])


def processes(*pids: int) -> list[Any]:
    """Return what NVML lists of processes."""
    return [SimpleNamespace(pid=pid) for pid in pids]


class FakeNvml:
    """NVML of a host whose GPU 0 is timed; `answers` are values by query, or functions of its arguments.

    `refused` always fail, `fails_at` the call of such a number and later ones, as a counter does after a reset.
    """

    def __init__(
        self, refused: Collection[str] = (), fails_at: dict[str, int] | None = None, old: bool = False, **answers: Any
    ) -> None:
        self.calls: Counter[str] = Counter()
        self._refused, self._fails_at = refused, fails_at or {}
        self._absent = _REASONS[0] if old else _REASONS[1]
        self._answers: dict[str, Any] = {
            "Init": None, "DeviceGetHandleByUUID": self._handle, "DeviceGetComputeRunningProcesses": processes(OWN),
            "SystemGetProcessName": b"/usr/bin/python", "DeviceGetMPSComputeRunningProcesses": [],
            "DeviceIsMigDeviceHandle": 0, "DeviceGetClockInfo": 1980, "DeviceGetTemperature": 61,
            "DeviceGetPowerUsage": 312_500, "DeviceGetEnforcedPowerLimit": 700_000, "DeviceGetCount": 1,
            "DeviceGetHandleByIndex": lambda index: index, "DeviceGetUUID": lambda handle: f"GPU-{handle}",
            "DeviceGetUtilizationRates": load(0.0), "DeviceGetTotalEnergyConsumption": 0,
            "DeviceGetCurrentClocksEventReasons": 0, "DeviceGetCurrentClocksThrottleReasons": 0, **answers,
        }  # fmt: skip

    def __getattr__(self, name: str) -> Callable[..., Any]:
        short = name.removeprefix("nvml")
        if not name.startswith("nvml") or name == self._absent:
            raise AttributeError(name)

        def query(*args: Any) -> Any:
            self.calls[short] += 1
            if short in self._refused or self.calls[short] >= self._fails_at.get(short, 1 << 30):
                raise RuntimeError("refused")
            found = self._answers[short]
            return found(*args) if callable(found) else found

        return query

    def _handle(self, uuid: str) -> int:
        assert uuid in ("GPU-some-uuid", "MIG-some-uuid")
        return 0


def install(
    monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None, used: int | None = 0, reserved: int = 0
) -> FakeNvml | None:
    """Let this process find that NVML, none at all, and a GPU with so many bytes in use; None: it does not say."""

    def mem_get_info(device: torch.device) -> tuple[int, int]:
        if used is None:
            raise RuntimeError("refused")
        return (80 << 30) - used, 80 << 30

    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="some-uuid"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", mem_get_info)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    return nvml
