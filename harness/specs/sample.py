"""Sample: a trial's images, cut into spans of indices, each a task of its own."""

from __future__ import annotations

from pydantic import Field

from harness.specs.base import Closed, Output, Policy, Spec
from harness.specs.sampler import ExtractorSpec, SamplerSpec


class Cost(Closed):
    """FLOPs of one image through each unit and through the whole network, and the trial's grid."""

    units: dict[str, int]
    network: int
    coverage: float
    """Share of the matrix parameters whose work the counter saw."""
    parameters: int
    sigmas: list[float]
    times: list[float]
    """The network's diffusion time at each level."""


class Refinement(Closed):
    """One refinement of a parallel executor beside the serial answer."""

    refinement: int
    distance_to_serial: float | None
    change: float | None
    images_open: int
    images: int


class SerialDistance(Closed):
    """How far the images of a parallel executor are from the serial ones, at the stop and after each refinement."""

    distance_to_serial: float | None
    refinements: list[Refinement]


class Distances(Closed):
    """Squared errors of final states to exact ones, and the squared norms of these, image by image."""

    squared_errors: list[float] = Field(default_factory=list)
    squared_norms: list[float] = Field(default_factory=list)


class Counts(Closed):
    """What ran, by step; evaluations and units are summed over images and ranks."""

    evaluations: dict[int, int]
    units: dict[int, dict[str, int]]
    iterations: dict[int, int]
    """Images by their number of refinements."""
    critical: dict[int, float]
    """Evaluations on critical paths."""
    speculative: int
    bytes_sent: int


class SampleOutput(Output):
    """What ran for a span of images, whether they are images, and how far they are from the exact ones."""

    seconds: float
    network_seconds: float
    counts: Counts
    not_finite: int
    first_not_finite: int | None
    constant: int
    wrong_shape: list[int] | None
    distances: Distances = Distances()
    """To the closed form, or to the reference solution of the untuned network."""
    own_distances: Distances = Distances()
    """To the reference solution of the tuned network's own flow."""
    serial_distance: SerialDistance | None = None
    """Of the first span of a parallel executor."""
    cost: Cost | None = None
    """Of the first span."""

    @property
    def sound(self) -> bool:
        """Tell whether all images are images: of the right shape, every value a finite number."""
        return not self.not_finite and self.wrong_shape is None

    def arrays(self) -> frozenset[str]:
        return frozenset({"features"}) if self.sound else frozenset()


class SampleSpec(Spec):
    """All images of a sampler, looked at by a feature network; a task makes a span of them."""

    kind = "sample"
    entry = "harness.tasks.sample"
    output = SampleOutput
    policy = Policy(transient=("features",))

    sampler: SamplerSpec
    extractor: ExtractorSpec
    solution: str | None = None
    """Id of the reference solution of the untuned network, by which states are judged."""
    own_solution: str | None = None

    def needs(self) -> tuple[str, ...]:
        return (*self.sampler.needs(), *(s for s in (self.solution, self.own_solution) if s is not None))

    def files(self) -> tuple[str, ...]:
        return self.extractor.files()

    def ranks(self) -> int:
        return self.sampler.devices
