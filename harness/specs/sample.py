"""Sample: a trial's images, cut into spans of indices, each a unit of the task."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import Annotated, Self

from pydantic import Field

from harness.specs.audits import BatchWork, Probe
from harness.specs.base import Closed, DecidesNothing, Output, Policy, Spec
from harness.specs.sampler import ExtractorSpec, SamplerSpec


class Cost(Closed):
    """FLOPs of one image through each unit and through the whole network, and the trial's grid."""

    units: dict[str, int]
    network: int
    coverage: float | None
    """Share of the matrix parameters whose work the counter saw; None where `sees_network` is False."""
    parameters: int | None
    """Of a wrapped pipeline those of the modules that ran; None where none did."""
    sees_network: bool = True
    """False for a wrapped pipeline, which owns its network: nothing is known but the FLOPs of whole calls."""
    sigmas: list[float]
    times: list[float]
    """The network's diffusion time at each level."""
    decoder: int = 0
    """FLOPs of decoding one image; 0 where states are pictures."""


class Refinement(Closed):
    """One refinement of a parallel executor, compared with the serial images."""

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
    squared_mismatches: list[float] = Field(default_factory=list)
    """Squared distances of the final states to exact ones of the next image of the batch; none in a batch of one."""

    def extend(self, more: Distances) -> None:
        """Add the distances of further images."""
        self.squared_errors.extend(more.squared_errors)
        self.squared_norms.extend(more.squared_norms)
        self.squared_mismatches.extend(more.squared_mismatches)


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
    operations: int = 0
    """FLOPs of whole calls, of a pipeline whose network is not seen."""


class CountSums:
    """Counts of many units, added one by one in their order."""

    def __init__(self) -> None:
        self._evaluations: Counter[int] = Counter()
        self._units: dict[int, Counter[str]] = defaultdict(Counter)
        self._iterations: Counter[int] = Counter()
        self._critical: dict[int, float] = defaultdict(float)
        self._speculative = self._bytes_sent = self._operations = 0

    def add(self, counts: Counts) -> None:
        """Add the counts of one unit."""
        self._evaluations.update(counts.evaluations)
        self._iterations.update(counts.iterations)
        for step, count in counts.units.items():
            self._units[step].update(count)
        for step, length in counts.critical.items():
            self._critical[step] += length
        self._speculative += counts.speculative
        self._bytes_sent += counts.bytes_sent
        self._operations += counts.operations

    def total(self) -> Counts:
        """Return the sums."""
        return Counts(
            evaluations=dict(self._evaluations),
            units={step: dict(count) for step, count in self._units.items()},
            iterations=dict(self._iterations),
            critical=dict(self._critical),
            speculative=self._speculative,
            bytes_sent=self._bytes_sent,
            operations=self._operations,
        )


class SampleOutput(Output):
    """What ran for some images, whether they are sound, and their distances to the exact ones."""

    seconds: float
    network_seconds: float
    counts: Counts
    not_finite: int
    """Images with NaN or infinity."""
    first_not_finite: int | None
    constant: int
    """Images of which all pixels are equal."""
    wrong_shape: list[int] | None
    distances: dict[str, Distances] = Field(default_factory=dict)
    """Of final states to exact ones, by metric.

    `truncation_error`: to the closed form, or to the reference solution of the untuned network;
    `own_truncation_error`: to the reference solution of the tuned network's own flow.
    """
    serial_distance: SerialDistance | None = None
    """Of the first span of a parallel executor."""
    cost: Cost | None = None
    """Of the first span."""
    batches: list[BatchWork] = Field(default_factory=list)
    """Every batch of the sampler, in the order of its images."""
    probes: list[Probe] = Field(default_factory=list)
    """Of the first span, and of some others."""
    weights_changed: bool = False
    """Whether the network's weights were others after the images were made."""

    @classmethod
    def merge_units(cls, outputs: Iterable[Self]) -> Self:
        """Return the sums over all units, read one by one: a large trial has thousands."""
        units = iter(outputs)
        first = next(units)  # alone holds the cost and the distance to the serial images

        task_seconds = audit_seconds = seconds = network_seconds = 0.0
        batches: list[BatchWork] = []
        probes: list[Probe] = []
        weights_changed = False
        counts, distances = CountSums(), defaultdict[str, Distances](Distances)
        not_finite, constant = 0, 0
        bad_indices: list[int] = []
        wrong_shape = None

        for unit in chain((first,), units):
            task_seconds += unit.task_seconds
            seconds += unit.seconds
            network_seconds += unit.network_seconds
            counts.add(unit.counts)

            # audits
            audit_seconds += unit.audit_seconds
            batches += unit.batches
            probes += unit.probes
            weights_changed |= unit.weights_changed

            # what the images are
            for name, more in unit.distances.items():
                distances[name].extend(more)
            not_finite += unit.not_finite
            constant += unit.constant
            if unit.first_not_finite is not None:
                bad_indices.append(unit.first_not_finite)
            if wrong_shape is None:
                wrong_shape = unit.wrong_shape

        return cls(
            task_seconds=task_seconds,
            audit_seconds=audit_seconds,
            seconds=seconds,
            network_seconds=network_seconds,
            counts=counts.total(),
            # what the images are
            not_finite=not_finite,
            first_not_finite=min(bad_indices, default=None),
            constant=constant,
            wrong_shape=wrong_shape,
            distances=dict(distances),
            serial_distance=first.serial_distance,
            cost=first.cost,
            # audits
            batches=batches,
            probes=probes,
            weights_changed=weights_changed,
        )

    @property
    def sound(self) -> bool:
        """Return whether all images have the right shape and finite values only."""
        return not self.not_finite and self.wrong_shape is None

    @property
    def has_arrays(self) -> bool:
        return self.sound


class SampleSpec(Spec):
    """Images of a sampler and their features."""

    kind = "sample"
    entry = "harness.tasks.sample"
    output = SampleOutput
    policy = Policy(transient=("features", "images"))

    sampler: SamplerSpec
    extractor: ExtractorSpec
    solution_id: str | None = None
    """Task that computes the reference solution of the untuned network."""
    own_solution_id: str | None = None
    """Task that computes the reference solution of the tuned network."""
    keeps_images: Annotated[bool, DecidesNothing("whether another task reads the pixels")] = False
    """Whether all images stay until they are compared; without it the first few do, and all features."""

    def transient(self) -> tuple[str, ...]:
        return self.policy.transient if self.keeps_images else ("features",)

    def needs(self) -> tuple[str, ...]:
        return (*self.sampler.needs(), *(s for s in (self.solution_id, self.own_solution_id) if s is not None))

    def files(self) -> tuple[str, ...]:
        return self.extractor.files()

    def ranks(self) -> int:
        return self.sampler.devices
