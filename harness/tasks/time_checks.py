"""Looks at the time of a trial beyond the timed calls: images that were never made before, and units by themselves.

A sampler that keeps what it made is fast only for images that it knows. One that computes more than its boundary counts
takes longer than the units that it reports.
"""

from __future__ import annotations

import resource
import secrets
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from harness.measure.device import timed_call
from harness.measure.operator_flops import operator_flops
from harness.sampling.conditions import any_class
from harness.sampling.sampler import Sampler
from harness.specs.audits import RepeatedCalls
from harness.specs.rules.audits import LEAST_PAIRS, MOST_PAIRS, SLOW_NEW_IMAGES_OF_PAIRS, UNIT_CALLS
from methods.networks.base import Network

_FIRST_NEW = 1 << 41
"""Above all indices of scored images and of warm-up calls."""


@torch.inference_mode()
def time_units(sampler: Sampler, network: Network, names: Iterable[str], batch: int) -> tuple[dict[str, float], float]:
    """Return the least seconds of a call of each of these units with a batch, and of the whole network.

    Nothing and 0 for a pipeline whose network is not seen.
    """
    if sampler.owns_network:
        return {}, 0.0
    units = sampler.denoiser.units()
    x = sampler.initial_state(range(batch))
    sigma = torch.full((batch,), float(sampler.sigmas[0]), dtype=torch.float64)

    def least(call: Callable[[Tensor, Tensor], object]) -> float:
        with any_class(network, batch):
            return min(own_seconds(partial(call, x, sigma), sampler.device)[1] for _ in range(UNIT_CALLS))

    by_unit = {name: least(units[name]) for name in names if name in units}
    whole = next((name for name in by_unit if units[name] is network), None)
    return by_unit, least(network) if whole is None else by_unit[whole]


def look_at_repeats(sampler: Sampler, images: int) -> RepeatedCalls:
    """Return FLOPs and seconds of calls with new images, and of such that were made before.

    Both kinds are timed in turn, so that other work slows both.
    """

    def call(first: int) -> object:
        return sampler.images(range(first, first + images))

    def count(first: int) -> int:
        with operator_flops() as flops:
            call(first)
        return sum(flops.values())

    again = draw_new_index()
    flops, new, timed = (count(again), count(again)), list[float](), list[float]()
    while len(new) < LEAST_PAIRS or (len(new) < MOST_PAIRS and min(new) > SLOW_NEW_IMAGES_OF_PAIRS * min(timed)):
        new.append(own_seconds(partial(call, draw_new_index()), sampler.device)[1])
        timed.append(own_seconds(partial(call, 0), sampler.device)[1])
    return RepeatedCalls(new_flops=flops[0], repeated_flops=flops[1], new_seconds=min(new), timed_seconds=min(timed))


def draw_new_index() -> int:
    """Return an index of images that nothing can have made before."""
    return _FIRST_NEW + secrets.randbelow(_FIRST_NEW)


def own_seconds(call: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Return wall seconds of a call, and its own: on a CPU the CPU seconds, those of ended child processes included."""
    before = _cpu_seconds()
    seconds = timed_call(call, device)[1].seconds
    return seconds, _cpu_seconds() - before if device.type == "cpu" else seconds


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
