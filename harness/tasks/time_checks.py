"""Looks at the time of a trial after its timing: images that were never made before, and units by themselves.

A sampler that keeps what it made is fast only for images that it knows. One that computes more than its boundary counts
takes longer than the units that it reports.
"""

from __future__ import annotations

import resource
import secrets
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor

from harness.measure.device import timed_call
from harness.sampling.sampler import Sampler
from harness.specs.audits import TimeLooks
from harness.specs.rules.audits import UNIT_CALLS
from methods.networks.base import Network

_FIRST_NEW = 1 << 41
"""Above all indices of scored images and of warm-up calls."""


@torch.inference_mode()
def look_at_time(
    sampler: Sampler,
    network: Network,
    units: Iterable[str],
    batch: int,
    prepare: Mapping[str, Callable[[int], Callable[[], Tensor]]],
) -> TimeLooks:
    """Return seconds of calls with new images and of these units with a batch.

    `prepare` returns, for a first index, the call of a kind, to be made at once.
    """
    device, by_name = sampler.device, sampler.denoiser.units()
    x = sampler.initial_state(range(batch))
    sigma = torch.full((batch,), float(sampler.sigmas[0]), dtype=torch.float64)

    def least(call: Callable[[Tensor, Tensor], object]) -> float:
        return min(_seconds(partial(call, x, sigma), device) for _ in range(UNIT_CALLS))

    return TimeLooks(
        new_images={kind: _seconds(make(_draw_index()), device) for kind, make in prepare.items()},
        units={name: least(by_name[name]) for name in units if name in by_name},
        network=least(network),
    )


def _draw_index() -> int:
    return _FIRST_NEW + secrets.randbelow(_FIRST_NEW)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    before = _cpu_seconds()
    seconds = timed_call(call, device)[1].seconds
    return _cpu_seconds() - before if device.type == "cpu" else seconds


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
