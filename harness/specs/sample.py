"""Sample: a trial's images, cut into spans of indices, each a unit of the task."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Self

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

    @classmethod
    def joined(cls, parts: Iterable[Distances]) -> Distances:
        """Return the distances of all parts in their order."""
        joined = cls()
        for part in parts:
            joined.squared_errors.extend(part.squared_errors)
            joined.squared_norms.extend(part.squared_norms)
        return joined


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

    @classmethod
    def added(cls, parts: Iterable[Counts]) -> Counts:
        """Return the sums over all parts, added in their order."""
        evaluations: Counter[int] = Counter()
        units: dict[int, Counter[str]] = defaultdict(Counter)
        iterations: Counter[int] = Counter()
        critical: dict[int, float] = defaultdict(float)
        speculative = bytes_sent = 0
        for part in parts:
            evaluations.update(part.evaluations)
            iterations.update(part.iterations)
            for step, count in part.units.items():
                units[step].update(count)
            for step, length in part.critical.items():
                critical[step] += length
            speculative += part.speculative
            bytes_sent += part.bytes_sent
        return cls(
            evaluations=dict(evaluations),
            units={step: dict(count) for step, count in units.items()},
            iterations=dict(iterations),
            critical=dict(critical),
            speculative=speculative,
            bytes_sent=bytes_sent,
        )


class SampleOutput(Output):
    """What ran for some images, whether they are images, and how far they are from the exact ones."""

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

    @classmethod
    def together(cls, outputs: Iterable[Self]) -> Self:
        units = list(outputs)
        wrong = [unit.wrong_shape for unit in units if unit.wrong_shape is not None]
        first_bad = [unit.first_not_finite for unit in units if unit.first_not_finite is not None]
        return cls(
            task_seconds=sum(unit.task_seconds for unit in units),
            seconds=sum(unit.seconds for unit in units),
            network_seconds=sum(unit.network_seconds for unit in units),
            counts=Counts.added(unit.counts for unit in units),
            not_finite=sum(unit.not_finite for unit in units),
            first_not_finite=min(first_bad, default=None),
            constant=sum(unit.constant for unit in units),
            wrong_shape=wrong[0] if wrong else None,
            distances=Distances.joined(unit.distances for unit in units),
            own_distances=Distances.joined(unit.own_distances for unit in units),
            serial_distance=units[0].serial_distance,
            cost=units[0].cost,
        )

    @property
    def sound(self) -> bool:
        """Tell whether all images are images: of the right shape, every value a finite number."""
        return not self.not_finite and self.wrong_shape is None

    def arrays(self) -> frozenset[str]:
        return frozenset({"features"}) if self.sound else frozenset()


class SampleSpec(Spec):
    """Images of a sampler, looked at by a feature network."""

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
