"""Reference: features and exact moments of the reference split, once per data set and feature network."""

from __future__ import annotations

from typing import Annotated

from harness.specs.base import Closed, DecidesNothing, ImageSet, Output, Policy, Spec
from harness.specs.sampler import DataSpec, ExtractorSpec


class StatisticsSpec(Closed):
    """A file of statistics in place of reference pictures, and what is stated of it."""

    path: Annotated[str, DecidesNothing("location of the bytes")]
    sha256: str
    n: int | None
    """Pictures behind it; None where it is not stated."""
    extractor: str
    """The feature network by which it was made, by name."""
    resize: str
    """How that brought pictures to its own size."""
    source: str
    """Where the file comes from, in the user's words."""

    @property
    def title(self) -> str:
        """Return how rows name the reference set, to follow the name of the data set."""
        return f"statistics {self.sha256}" + (f" ({self.source})" if self.source else "")


class ShippedSpec(Closed):
    """A file that ships in place of the pictures that `DataSpec` names: the statistics of their features."""

    path: Annotated[str, DecidesNothing("location of the bytes")]
    sha256: str


class ReferenceOutput(Output):
    """How many images there are, None where it is not stated; the result's arrays are their statistics."""

    n: int | None


class ReferenceSpec(Spec):
    """A data set's reference split, or a file of its statistics, and a feature network."""

    kind = "reference"
    entry = "harness.tasks.reference"
    output = ReferenceOutput
    policy = Policy(shared=True)

    data: DataSpec
    extractor: ExtractorSpec
    statistics: StatisticsSpec | None = None
    """None where the data set's own pictures are meant."""
    shipped: ShippedSpec | None = None
    """None where these are read."""
    device: str
    """Kind of the device, "cpu" or "cuda"."""

    def images(self) -> ImageSet | None:
        if self.statistics is not None or self.shipped is not None:
            return None
        return ImageSet(dataset=self.data.name, split=self.data.reference)

    def files(self) -> tuple[str, ...]:
        given = self.statistics or self.shipped
        return self.extractor.files() if given is None else (given.path,)
