"""Prepare: what a method trains, tunes or searches before the first image; and the jobs over which a search spreads.

Of a trial it holds what the method declared that it depends on and nothing else, so it can read nothing else.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.specs.base import Closed, DecidesNothing, ImageSet, Json, Output, Policy, Price, Spec
from harness.specs.sampler import ExtractorSpec, ModelSpec, PartSpec


class PrepareOutput(Output):
    """The facts of the artifact, whose arrays the result holds, and what it cost."""

    artifact: Json
    price: Price


class FinishedJob(Closed):
    """A job of a search, and the id of its result."""

    job: Json
    id: str


class PrepareSpec(Spec):
    """One preparation, or one job of a search."""

    kind = "prepare"
    entry = "harness.tasks.prepare"
    output = PrepareOutput
    policy = Policy(shared=True)

    model: ModelSpec
    part: str
    method: PartSpec
    """The method with the parameters that decide this result."""
    other_params: Annotated[Json, DecidesNothing("declared to decide sampling or the search alone")] = Field(
        default_factory=dict
    )
    steps: int | None = None
    schedule: PartSpec | None = None
    solver: PartSpec | None = None
    serial: PartSpec
    """The executor by which a search makes its images."""
    start: str | None = None
    """Id of the preparation that this one starts from."""
    seed: int = 0
    device: str
    """Kind of the device, "cpu" or "cuda"."""
    job: Json | None = None
    """What to do of a search; None: conclude it, or prepare what needs no search."""
    jobs: Annotated[PrepareSpec | None, DecidesNothing("what its jobs are told follows from the rest")] = None
    """Of a method that searches: what every job is told beside its own `job`."""
    done: Annotated[tuple[FinishedJob, ...], DecidesNothing("follows from the rest")] = ()
    """The finished jobs of a search that concludes."""

    def needs(self) -> tuple[str, ...]:
        parts = [part.artifact for part in (self.schedule, self.solver) if part is not None]
        read = (*parts, self.start, *(job.id for job in self.done))
        return (*self.model.needs(), *(task_id for task_id in read if task_id is not None))

    def images(self) -> ImageSet:
        return ImageSet(dataset=self.model.data.name, split=self.model.data.training)

    def params(self) -> Json:
        """Return all parameters of the method."""
        return {**self.method.params, **self.other_params}

    def scored(self, reference: str, extractor: ExtractorSpec) -> ScoredPrepareSpec:
        """Return the same for a method that measures FID against a reference's statistics."""
        return ScoredPrepareSpec(**dict(self), reference=reference, extractor=extractor)


class ScoredPrepareSpec(PrepareSpec):
    """The same for a method that measures FID while it prepares."""

    entry = "harness.tasks.prepare_scored"

    reference: str
    """Id of the reference's statistics."""
    extractor: ExtractorSpec

    def needs(self) -> tuple[str, ...]:
        return (*super().needs(), self.reference)

    def files(self) -> tuple[str, ...]:
        return self.extractor.files()
