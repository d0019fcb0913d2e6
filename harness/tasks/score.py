"""Score: quality of a trial's images from their features, read unit by unit in index order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.metrics.quality import measure_quality
from harness.metrics.reference import ReferenceFeatures
from harness.sampling.place import Place
from harness.specs.score import Replicate, ScoreOutput, ScoreSpec
from harness.task import Event, Result


def run(spec: ScoreSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield the quality figures."""
    reference = ReferenceFeatures.from_tensors(inputs[spec.reference_id].tensors)
    digest = hashlib.sha256()

    def features() -> Iterator[tuple[int, np.ndarray]]:
        for start, unit in sorted(unit for images in spec.images_by_task for unit in images.units()):
            tensors = inputs[unit].tensors
            if "features" not in tensors:
                raise HarnessError(f"the images from index {start} on are no sound images and were not scored")
            digest.update(tensors["digests"].tobytes())
            yield start, tensors["features"]

    quality = measure_quality(features(), reference, spec.n_images, spec.groups)
    output = ScoreOutput(
        n_images=quality.n_images,
        reference_n=quality.reference_n,
        figures=quality.figures,
        replicates=[Replicate(group=group, figures=one) for group, one in enumerate(quality.replicates)],
        reasons=quality.reasons,
        copies=quality.copies,
        has_reference_features=quality.has_reference_features,
        images_sha256=digest.hexdigest(),
    )
    yield Result(output)
