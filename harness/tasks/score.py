"""Score: quality of one trial's images from their features, streamed shard by shard in index order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import HarnessError
from harness.handles import resolve
from harness.metrics.quality import score
from harness.metrics.reference import ReferenceFeatures
from harness.tasks import Event, Result

if TYPE_CHECKING:
    from harness.worker import Worker


def run(spec: dict[str, Any], inputs: Mapping[str, Any], worker: Worker) -> Iterator[Event]:
    """Yield the quality figures; `inputs["shards"]` holds (start index, handle) in any order."""
    reference = ReferenceFeatures.from_tensors(resolve(inputs["reference"]).tensors)
    digest = hashlib.sha256()

    def features() -> Iterator[tuple[int, np.ndarray]]:
        for start, handle in sorted(inputs["shards"], key=lambda shard: shard[0]):
            tensors = resolve(handle).tensors
            if "features" not in tensors:
                raise HarnessError(f"the images from index {start} on are no sound images and were not scored")
            digest.update(tensors["digests"].tobytes())
            yield start, tensors["features"]

    quality = score(features(), reference, spec["n_images"], spec["groups"])
    figures = {**vars(quality), "replicates": [replicate._asdict() for replicate in quality.replicates]}
    yield Result({}, {**figures, "images_sha256": digest.hexdigest()})
