"""What runs in a new process of a check: images of some batches. It imports as little as a worker needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch

from harness.sampling.build import build_sampler
from harness.sampling.numerics import fix_numerics
from harness.sampling.pixels import image_digests
from harness.sampling.place import Place
from harness.specs.sampler import SamplerSpec
from harness.task import Inputs


def send_digests(there: Connection, spec: SamplerSpec, inputs: Mapping[str, Any], firsts: Sequence[int]) -> None:
    """Send the digests of the images of some batches, or one sentence on what was raised. Runs in a new process."""
    try:
        there.send(_make_digests(spec, inputs, firsts))
    except (Exception, SystemExit) as error:
        there.send(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _make_digests(spec: SamplerSpec, inputs: Mapping[str, Any], firsts: Sequence[int]) -> dict[int, bytes]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fix_numerics(device, threads=1)
    sampler = build_sampler(spec, Inputs(inputs), Place(device))
    made: dict[int, bytes] = {}
    for first in firsts:
        indices = range(first, first + spec.batch)
        digests = image_digests(sampler.images(indices))
        made |= {index: digest.tobytes() for index, digest in zip(indices, digests, strict=True)}
    return made
