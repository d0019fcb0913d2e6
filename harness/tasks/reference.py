"""Reference: features and exact moments of the reference split, once per data set and feature network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from harness.metrics.extractors import cached_extractor
from harness.metrics.reference import reference_of
from harness.sampling.place import Place
from harness.specs.reference import ReferenceOutput, ReferenceSpec
from harness.task import IMAGES, Event, Progress, Result


def run(spec: ReferenceSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield progress, then the reference's statistics as arrays."""
    images = inputs[IMAGES]
    extractor = cached_extractor(spec.extractor, inputs, place)
    features = []
    for first in range(0, len(images), extractor.batch):
        block = torch.from_numpy(images[first : first + extractor.batch].copy())
        features.append(extractor(block).cpu().numpy())
        yield Progress(min(first + extractor.batch, len(images)), len(images), "images")
    yield Result(ReferenceOutput(n=len(images)), reference_of(np.concatenate(features)).to_tensors())
