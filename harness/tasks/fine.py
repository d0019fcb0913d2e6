"""Fine: solve a network's probability flow in many steps, once for all trials that are judged by their distance to it.

The network is the whole one before any method tunes it, its noises are those of the trials, the first images first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from harness.errors import HarnessError
from harness.tasks import Event, Progress, Result

if TYPE_CHECKING:
    from harness.worker import Worker


def run(spec: dict[str, Any], inputs: Mapping[str, Any], worker: Worker) -> Iterator[Event]:
    """Yield progress per batch, then the final states [n, channels, height, width] of images 0 to n - 1.

    Raises HarnessError if one of them is not finite: nothing can be measured against it.
    """
    sampler = worker.sampler(spec["sampler"], inputs)
    n, batch = spec["n"], spec["sampler"]["batch"]
    blocks = []
    for first in range(0, n, batch):
        indices = range(first, min(first + batch, n))
        blocks.append(sampler.run(indices).cpu())
        yield Progress(indices.stop, n, "images")
    states = torch.cat(blocks)
    bad = int((~torch.isfinite(states)).flatten(1).any(1).sum())
    if bad:
        raise HarnessError(f"{bad} of {n} images of the fine solution hold NaN or infinity; expected finite states")
    yield Result({"states": states.numpy()})
