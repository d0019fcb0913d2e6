"""Reference: features and exact moments of the reference split, once per data set and feature network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness.handles import resolve
from harness.metrics.reference import reference_of
from harness.tasks import Event, Progress, Result

if TYPE_CHECKING:
    from harness.worker import Worker


def run(spec: dict[str, Any], inputs: Mapping[str, Any], worker: Worker) -> Iterator[Event]:
    """Yield progress, then the reference's statistics as arrays."""
    images = resolve(inputs["images"])
    extractor = worker.extractor(spec["extractor"], inputs)
    features = []
    for first in range(0, len(images), extractor.batch):
        block = torch.from_numpy(images[first : first + extractor.batch].copy())
        features.append(extractor(block).cpu().numpy())
        yield Progress(min(first + extractor.batch, len(images)), len(images), "images")
    yield Result(reference_of(np.concatenate(features)).to_tensors(), {"n": len(images)})
