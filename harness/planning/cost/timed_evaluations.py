"""Seconds of one evaluation of every network of a plan, timed here and now, only where a person wants it."""

from __future__ import annotations

import time
from collections.abc import Container

import torch

from harness.planning.cost.work import network_key
from harness.planning.plan import Plan
from harness.sampling.network import build_network
from harness.sampling.numerics import fixed_numerics

TIMED_BATCH = 8
"""At most so many images in the timed call; a small batch suits every machine."""


@torch.inference_mode()
def time_evaluations(plan: Plan, finished: Container[str]) -> dict[str, float]:
    """Return the seconds per image of one evaluation by `network_key`, for networks of trials that are to do.

    Each network is built with random weights and called twice on this machine's first device; the second call counts.
    A wrapped pipeline's network is not known here, and has none.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with fixed_numerics(device, 1):
        return _time_evaluations(plan, finished, device)


def _time_evaluations(plan: Plan, finished: Container[str], device: torch.device) -> dict[str, float]:
    batch, found = min(plan.suite.batch, TIMED_BATCH), dict[str, float]()

    for planned in plan.trials:
        trial = planned.trial
        key = network_key(trial.model)
        if planned.id in finished or key in found or trial.network.family == "own":
            continue
        data = trial.dataset.shape()
        network = build_network(trial.network, data).to(device).eval()
        x = torch.zeros(batch, data.channels, data.resolution, data.resolution, device=device)
        sigma = torch.ones(batch, dtype=torch.float64, device=device)

        # one call to warm up, one on the clock
        network(x, sigma)
        _wait_for(device)
        began = time.perf_counter()
        network(x, sigma)
        _wait_for(device)
        found[key] = (time.perf_counter() - began) / batch
    return found


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
