"""How long a network trains on this machine: one step of its training, timed."""

from __future__ import annotations

import time

import torch

from harness.config.network_card import NetworkCard
from harness.sampling.network import build_network
from harness.sampling.numerics import fixed_numerics
from methods.networks.base import DataShape

_IMAGES = 16  # of the timed step: a training's batch may not fit or take minutes


def time_training_image(net: NetworkCard, data: DataShape) -> float:
    """Return the seconds that an image takes in a training of a network here, on one device.

    Of two steps with the gradient of the loss, the shorter one, after one to warm up.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with fixed_numerics(device, 1):
        seconds = _time_steps(net, data, device)
    return min(seconds[1:]) / _IMAGES


def _time_steps(net: NetworkCard, data: DataShape, device: torch.device) -> list[float]:
    network = build_network(net, data).to(device).train()
    images = torch.zeros(_IMAGES, data.channels, data.resolution, data.resolution, device=device)
    generator = torch.Generator().manual_seed(0)

    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        network.loss(images, generator).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return seconds


def describe_duration(seconds: float) -> str:
    """Return a duration in words, as "2 min"."""
    for unit, size in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
