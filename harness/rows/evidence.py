"""What is known of a finished trial when it is judged: its row, the outputs of its tasks, what is expected of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.specs.audits import BatchWork, CopyFigures, CountedWork, ImagesWork, Probe, RepeatedCalls, TimedWork
from harness.specs.row import Expectation
from harness.specs.rules.bounds import MOST_FLIPPED
from harness.specs.sample import SampleOutput

Row = Mapping[str, Any]


@dataclass(frozen=True)
class RuleFinding:
    """What one rule found in a trial."""

    holds: bool | None
    """None where the rule could not be tried; `found` says why."""
    found: str
    expected: str


@dataclass(frozen=True)
class TrialEvidence:
    """Of one trial; what its own timing left is empty where another trial was timed in its place."""

    row: Row
    shards: Sequence[SampleOutput]
    precision: str = "float32"
    """Number format of the network's operators."""
    rounding: str = "float32"
    """Number format whose rounding images have, see `SamplerSpec.rounding`."""
    equal_bytes: bool = True
    """Whether the kernels give equal bytes in another process."""
    quality_reasons: Sequence[str] = ()
    copies: CopyFigures | None = None
    has_reference_features: bool = True
    """False where the reference is a file of mean and covariance, with which no image can be compared."""
    counters_agree: bool | None = None
    """Whether two counters of FLOPs agree on the network; None for one without weights."""
    band: tuple[float, float] | None = None
    """Where the clock's FID must lie."""
    clock_fid: float | None = None
    timed_flops: float | None = None
    """Per image, of the trial that was timed in its place."""
    expectations: Sequence[Expectation] = ()
    seed_differences: Sequence[tuple[float, float]] = ()
    """FID minus that of the same trial from other initial noise, with the standard error, for each other seed set."""
    on_clocks_node: bool = True
    """Whether it was timed on the node where the clock was timed alone."""

    # its own timing
    timed: Sequence[TimedWork] = ()
    scored_sha256: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """By first index and number of images: the SHA-256 over the digests of these scored images."""
    counted_batch: CountedWork | None = None
    weights_changed: bool = False
    """While it was timed."""
    ratio: float | None = None
    """Seconds of a call with a batch over those of a call with one image, the least of both."""
    new_images_ratio: float | None = None
    """Seconds of a call with new images over the least of a timed one."""
    repeats: Mapping[str, RepeatedCalls] = field(default_factory=dict)
    """By kind of call, of a pipeline whose network is not seen."""
    over_units: float | None = None
    """Least seconds of a timed batch over those of the units that it ran, by themselves."""

    @property
    def n_images(self) -> int:
        """Return the number of scored images."""
        return int(self.row["n_images"])

    @property
    def sees_network(self) -> bool:
        """Return whether calls of the network are seen; not those of a wrapped pipeline, which owns it."""
        return not self.shards or self.shards[0].cost is None or self.shards[0].cost.sees_network

    @property
    def network_flops(self) -> int | None:
        """Return the FLOPs of the whole network for one image, None where they were not counted."""
        return None if not self.shards or self.shards[0].cost is None else self.shards[0].cost.network

    @property
    def batches(self) -> list[BatchWork]:
        """Return what ran for every scored batch."""
        return [batch for shard in self.shards for batch in shard.batches]

    @property
    def probes(self) -> list[Probe]:
        """Return the probes of scored images."""
        return [probe for shard in self.shards for probe in shard.probes]

    @property
    def counted(self) -> list[CountedWork]:
        """Return all work that an independent counter watched."""
        whole = [] if self.counted_batch is None else [self.counted_batch]
        return [*(probe.work for probe in self.probes if probe.work is not None), *whole]

    def counted_flops(self, work: CountedWork) -> int:
        """Return the FLOPs that the boundary counted: runs of units times what one costs."""
        assert self.shards[0].cost is not None
        return sum(count * self.shards[0].cost.units.get(name, 0) for name, count in work.units.items())

    def seen_and_counted(self, work: CountedWork) -> list[tuple[int, int]]:
        """Return the FLOPs that operators did and those that were counted: of sampling, then of decoding if any."""
        cost = self.shards[0].cost
        assert cost is not None
        sampling = sum(work.operator_flops.values()), self.counted_flops(work)
        decoding = sum(work.decoding_flops.values()), work.decoded * cost.decoder
        return [sampling] if decoding == (0, 0) else [sampling, decoding]

    @property
    def equal_work(self) -> bool:
        """Return whether all batches had equal evaluations and units for an image, so that none is decided by it.

        A unit that did not run a whole number of times for each image of a batch was.
        """
        if any(count % batch.images for batch in self.batches for count in batch.work.units.values()):
            return False
        return len({per_image(batch.work, batch.images) for batch in self.batches}) <= 1

    @property
    def refines(self) -> bool:
        """Return whether an executor said how many refinements each image of a batch took."""
        return any(batch.work.iterations for batch in self.batches)

    def may_differ(self, images: int) -> int:
        """Return how many of so many images may differ by more than rounding."""
        return 0 if self.equal_work else max(1, int(MOST_FLIPPED * images))


def per_image(work: ImagesWork, images: int) -> tuple[Any, ...]:
    """Return evaluations and runs of each unit for an image, exact where they are whole numbers."""
    evaluations = None if work.evaluations is None else work.evaluations / images
    return evaluations, tuple((name, count / images) for name, count in sorted(work.units.items()))
