"""Prepare with FID: for methods that score candidates with the suite's feature network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from harness.errors import UsageError
from harness.metrics.extractors import cached_extractor
from harness.metrics.frechet import frechet_distance
from harness.metrics.moments import Moments
from harness.metrics.reference import ReferenceFeatures
from harness.sampling.build import load_decoder
from harness.sampling.pixels import to_uint8
from harness.sampling.place import Place
from harness.specs.prepare import ScoredPrepareSpec
from harness.task import Event
from harness.tasks.prepare import Context, prepare_in
from methods.parts import Method


class ScoringContext(Context):
    """A context that also measures FID."""

    def __init__(self, spec: ScoredPrepareSpec, inputs: Mapping[str, Any], place: Place, method: Method) -> None:
        super().__init__(spec, inputs, place, method)
        self._scored = spec
        self._decoder = load_decoder(spec.decoder, inputs, place)

    def fid(self, images: Tensor) -> float:
        """Return the FID of final states [n, ...] to the reference set."""
        extractor = cached_extractor(self._scored.extractor, self._inputs, self._place)
        reference = ReferenceFeatures.from_tensors(self._inputs[self._scored.reference_id].tensors)
        pixels = to_uint8(images if self._decoder is None else self._decoder(images)).cpu()
        features = np.concatenate([extractor(block).cpu().numpy() for block in pixels.split(extractor.batch)])
        if len(pixels) <= reference.dim:
            raise UsageError(
                f"a search scores {len(pixels)} images by {reference.dim} features; FID needs more images than features"
            )
        return frechet_distance(reference.frechet, Moments.of(features))


def run(spec: ScoredPrepareSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield the method's progress, then its artifact and price."""
    yield from prepare_in(lambda _, *rest: ScoringContext(spec, *rest), spec, inputs, place)
