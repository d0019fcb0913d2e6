"""Reference: features and exact moments of the reference split, once per data set and feature network."""

from __future__ import annotations

from harness.specs.base import ImageSet, Output, Policy, Spec
from harness.specs.sampler import DataSpec, ExtractorSpec


class ReferenceOutput(Output):
    """How many images there are; the result's arrays are their statistics."""

    n: int


class ReferenceSpec(Spec):
    """A data set's reference split and a feature network."""

    kind = "reference"
    entry = "harness.tasks.reference"
    output = ReferenceOutput
    policy = Policy(shared=True)

    data: DataSpec
    extractor: ExtractorSpec
    device: str
    """Kind of the device, "cpu" or "cuda"."""

    def images(self) -> ImageSet:
        return ImageSet(dataset=self.data.name, split=self.data.reference)

    def files(self) -> tuple[str, ...]:
        return self.extractor.files()
