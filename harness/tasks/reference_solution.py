"""Reference solution: a network's probability flow in many steps, solved once for all trials compared with it.

It is the whole network before any method tunes it. Noises are those of the trials' first images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from harness.errors import HarnessError
from harness.sampling.build import build_sampler
from harness.sampling.place import Place
from harness.specs.base import Output
from harness.specs.reference_solution import ReferenceSolutionSpec
from harness.task import Event, Progress, Result


def run(spec: ReferenceSolutionSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield progress per batch, then the final states [n, channels, height, width] of images 0 to n - 1.

    Raises HarnessError if one of them is not finite: nothing can be measured against it.
    """
    sampler = build_sampler(spec.sampler, inputs, place)
    n, batch = spec.n, spec.sampler.batch
    blocks = []

    for first in range(0, n, batch):
        indices = range(first, min(first + batch, n))
        blocks.append(sampler.run(indices).cpu())
        yield Progress(indices.stop, n, "images")

    states = torch.cat(blocks)
    bad = int((~torch.isfinite(states)).flatten(1).any(1).sum())
    if bad:
        raise HarnessError(
            f"{bad} of {n} images of the reference solution hold NaN or infinity; expected finite states"
        )
    yield Result(Output(), {"states": states.numpy()})
