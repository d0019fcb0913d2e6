"""Untimed looks at the time of a trial: images that were never made before, and the units of the network by themselves.

A sampler that keeps what it made is fast only for images that it knows. One that computes more than its boundary counts
takes longer than the units that it reports.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from harness.measure.device import own_seconds, timed_call
from harness.sampling.sampler import Sampler
from harness.specs.rules.audits import FRESH_CALLS, UNIT_CALLS
from methods.networks.base import Network

_FIRST_FRESH = 1 << 41
"""Above all indices of scored images and of warm-up calls."""


def time_fresh_images(prepare: Callable[[int], Callable[[], Tensor]], device: torch.device, by_cpu: bool) -> float:
    """Return the least seconds of a few calls whose images nothing can have made before, CPU seconds if `by_cpu`.

    `prepare` returns the call for a first index.
    """
    seconds = []
    for _ in range(FRESH_CALLS):
        first = _FIRST_FRESH + secrets.randbelow(_FIRST_FRESH)
        timing = timed_call(prepare(first), device)[1]
        seconds.append(own_seconds(timing, by_cpu))
    return min(seconds)


@torch.inference_mode()
def time_units(sampler: Sampler, network: Network, names: list[str], batch: int) -> tuple[dict[str, float], float]:
    """Return the least wall seconds of a call of each of these units with a batch, and of the whole network."""
    x = sampler.initial_state(range(batch))
    sigma = torch.full((batch,), float(sampler.sigmas[0]), dtype=torch.float64)
    units = sampler.denoiser.units()

    def least(call: Callable[[Tensor, Tensor], object]) -> float:
        return min(timed_call(partial(call, x, sigma), sampler.device)[1].seconds for _ in range(UNIT_CALLS))

    return {name: least(units[name]) for name in names}, least(network)
