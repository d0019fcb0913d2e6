"""Seconds inside the network: by the host's clock on a CPU, by events of the device on a GPU."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from harness.sampling.network_clock import NetworkClock


class FakeEvent:
    """An event of a GPU whose work takes a second after each record; it notes who waits for it."""

    now = 0.0
    waited = 0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        FakeEvent.now += 1.0
        self.at = FakeEvent.now

    def synchronize(self) -> None:
        FakeEvent.waited += 1

    def elapsed_time(self, other: Any) -> float:
        return 1e3 * (other.at - self.at)


def test_on_a_gpu_its_seconds_are_the_devices_and_nothing_waits_until_they_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    clock = NetworkClock(torch.device("cuda"))
    for _ in range(3):
        with clock:
            pass
    assert FakeEvent.waited == 0
    assert clock.seconds == 3.0
    assert (clock.seconds, FakeEvent.waited) == (3.0, 1)
    with clock:
        pass
    assert clock.seconds == 4.0


@pytest.mark.parametrize("device", [None, torch.device("cpu")])
def test_elsewhere_they_are_the_hosts(device: torch.device | None) -> None:
    clock = NetworkClock(device)
    with clock:
        time.sleep(0.02)
    time.sleep(0.02)
    assert 0.02 <= clock.seconds < 0.04
