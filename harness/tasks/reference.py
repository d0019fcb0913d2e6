"""Reference: features and exact moments of the reference split, once per data set and feature network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load

from harness.errors import UsageError
from harness.metrics.extractors import Extractor, cached_extractor
from harness.metrics.feature_stream import Features
from harness.metrics.reference import ReferenceCollector, ReferenceFeatures
from harness.metrics.statistics_file import read_statistics
from harness.sampling.place import Place
from harness.specs.reference import ReferenceOutput, ReferenceSpec, ShippedSpec, StatisticsSpec
from harness.task import IMAGES, Event, Progress, Result


def run(spec: ReferenceSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield progress, then the reference's statistics as arrays."""
    if spec.statistics is not None:
        yield _read_file(spec.statistics, inputs)
        return
    if spec.shipped is not None:
        yield _read_shipped(spec.shipped, inputs)
        return

    images = inputs[IMAGES]
    extractor = cached_extractor(spec.extractor, inputs, place)
    collected = ReferenceCollector(len(images))
    for done, block in feature_blocks(extractor, images):
        collected.append(block)
        yield Progress(done, len(images), "images")
    yield Result(ReferenceOutput(n=len(images)), collected.result().to_tensors())


def feature_blocks(extractor: Extractor, images: np.ndarray) -> Iterator[tuple[int, Features]]:
    """Yield (images done, features [m, d]) of uint8 images [n, C, H, W], one batch of the extractor at a time."""
    for first in range(0, len(images), extractor.batch):
        block = torch.from_numpy(images[first : first + extractor.batch].copy())
        yield min(first + extractor.batch, len(images)), extractor(block).cpu().numpy()


def _read_file(statistics: StatisticsSpec, inputs: Mapping[str, Any]) -> Result:
    """Return the statistics that a file holds; UsageError if it is no longer the planned one."""
    content = _planned_bytes(statistics, inputs)
    reference = read_statistics(content, statistics.path).reference(statistics.n)
    return Result(ReferenceOutput(n=reference.n), reference.to_tensors())


def _read_shipped(shipped: ShippedSpec, inputs: Mapping[str, Any]) -> Result:
    """Return the arrays of a file that ships, as a task that reads the pictures gives them."""
    reference = ReferenceFeatures.from_tensors(load(_planned_bytes(shipped, inputs)))
    return Result(ReferenceOutput(n=reference.n), reference.to_tensors())


def _planned_bytes(given: StatisticsSpec | ShippedSpec, inputs: Mapping[str, Any]) -> bytes:
    content = inputs[given.path]
    if hashlib.sha256(content).hexdigest() != given.sha256:
        raise UsageError(f"{given.path} has changed since the run was planned; expected it to stay, so run again")
    found: bytes = content.tobytes()
    return found
