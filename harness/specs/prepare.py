"""Prepare: what a method trains, tunes or searches before the first image, and the jobs of a search.

It holds only what the method declared of its trial, so a method cannot read more.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from harness.specs.base import Closed, DecidesNothing, ImageSet, Json, Output, Policy, Price, Spec
from harness.specs.limits import CHECKPOINT_SECONDS
from harness.specs.sampler import ClassesSpec, DecoderSpec, ExtractorSpec, ModelSpec, PartSpec


class PrepareOutput(Output):
    """The artifact's metadata and its price; the result holds the arrays."""

    artifact: Json
    price: Price


class FinishedJob(Closed):
    """A job of a search, and the id of its result."""

    job: Json
    task_id: str


class PrepareSpec(Spec):
    """One preparation, or one job of a search."""

    kind = "prepare"
    entry = "harness.tasks.prepare"
    output = PrepareOutput
    policy = Policy(shared=True, resumes=True)

    model: ModelSpec
    sigma_min: float
    sigma_max: float
    part: str
    method: PartSpec
    """The method with the parameters that decide this result."""
    other_params: Annotated[Json, DecidesNothing("declared to decide sampling or the search alone")] = Field(
        default_factory=dict
    )
    steps: int | None = None
    schedule: PartSpec | None = None
    solver: PartSpec | None = None
    classes: ClassesSpec | None = None
    """The law of the classes of the images that it makes; None: they have none."""
    serial: PartSpec
    """The executor by which a search makes its images."""
    start_id: str | None = None
    """Id of the preparation that this one starts from."""
    seed: int = 0
    """The number of the training; noises and draws go by it."""
    device: str
    """Kind of the device, "cpu" or "cuda"."""
    job: Json | None = None
    """What to do of a search; None: conclude it, or prepare what needs no search."""
    jobs: Annotated[PrepareSpec | None, DecidesNothing("the spec of its jobs follows from the rest")] = None
    """Of a method that searches: the spec of every job, but for its own `job`."""
    reads_images: Annotated[bool, DecidesNothing("follows from the method")] = True
    """Whether the method learns from training images."""
    devices: Annotated[int, DecidesNothing("batches do not depend on it; sums differ by rounding")] = 1
    """Devices that train together where the method trains; a search's job has one."""
    checkpoint_seconds: Annotated[float, DecidesNothing("how often the state is kept")] = CHECKPOINT_SECONDS
    done: Annotated[tuple[FinishedJob, ...], DecidesNothing("follows from the rest")] = ()
    """The finished jobs of a search that concludes."""

    def needs(self) -> tuple[str, ...]:
        parts = [part.artifact_id for part in (self.schedule, self.solver) if part is not None]
        read = (*parts, self.start_id, *(job.task_id for job in self.done))
        return (*self.model.needs(), *(task_id for task_id in read if task_id is not None))

    def images(self) -> ImageSet | None:
        return ImageSet(dataset=self.model.data.name, split=self.model.data.training) if self.reads_images else None

    def ranks(self) -> int:
        return 1 if self.job is not None else self.devices

    def params(self) -> Json:
        """Return all parameters of the method."""
        return {**self.method.params, **self.other_params}

    def scored(self, reference_id: str, extractor: ExtractorSpec, decoder: DecoderSpec | None) -> ScoredPrepareSpec:
        """Return the Spec of a method that measures FID against a reference's statistics."""
        return ScoredPrepareSpec(**dict(self), reference_id=reference_id, extractor=extractor, decoder=decoder)


class ScoredPrepareSpec(PrepareSpec):
    """A preparation of a method that measures FID while it prepares."""

    entry = "harness.tasks.prepare_scored"

    reference_id: str
    """Id of the reference's statistics."""
    extractor: ExtractorSpec
    decoder: DecoderSpec | None = None
    """What makes pictures of final states; None where states are pictures."""

    def needs(self) -> tuple[str, ...]:
        decoder = () if self.decoder is None else (self.decoder.weights_id,)
        return (*super().needs(), *decoder, self.reference_id)

    def files(self) -> tuple[str, ...]:
        return self.extractor.files()


class StoredPreparationSpec(Spec):
    """A preparation that was made before and is stored with its price."""

    kind = "prepare"
    entry = "harness.tasks.stored_preparation"
    output = PrepareOutput
    policy = Policy(shared=True)

    path: Annotated[str, DecidesNothing("location of the bytes")]
    sha256: str
    price: Price
    method: Annotated[PartSpec, DecidesNothing("by the card that of the file")]

    def files(self) -> tuple[str, ...]:
        return (self.path,)
