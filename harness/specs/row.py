"""Row: what a trial's rows are built from, and the rules by which a row is VALID. Built in the driver's process."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from harness.specs.base import Closed, DecidesNothing, DecidesNothingAs, Spec
from harness.specs.reference import StatisticsSpec
from harness.specs.sampler import ExtractorSpec, SamplerSpec
from harness.specs.time import Tier

_REWRITTEN = DecidesNothing("names other trials; a row is written again when one that it names has another identity")


class Expectation(Closed):
    """A known answer: the column of the matching rows must be within the tolerance of the value, else the run fails."""

    dataset: str
    method: str
    steps: PositiveInt
    column: str
    value: float
    per_image: float = 0.0
    """Bias of a finite sample: the answer at N images is value + per_image / N."""
    absolute: float = Field(default=0.0, ge=0)
    relative: float = Field(default=0.0, ge=0)
    noise_at: PositiveInt | None = None
    """N at which `absolute` and `relative` allow for the noise of images; at another they go as 1 / sqrt(N)."""
    source: str


class NetworkLimit(Closed):
    """FID of a network solved out, with its 95 % interval, taken as the suite takes FID."""

    fid: float
    low: float
    high: float


class Relations(Closed):
    """The trials that a row names, by id."""

    is_baseline: bool = False
    baseline_trial_id: str | None = None
    """The baseline at the same number of evaluations."""
    clock_trial_id: str = ""
    differs_from_clock: str = ""
    """The settings of its sampler that are others than the clock's."""
    timed_trial_id: str = ""
    """The trial whose timing gives the times: itself, or the same of training 0."""
    control_of_trial_id: str | None = None
    """The trials whose control this is, separated by blanks."""


class RowSpec(Spec):
    """A trial by its names, and the ids of the tasks whose results its row shows."""

    kind = "row"
    entry = "harness.rows.row"

    suite: str
    network: str
    network_like: str
    method: str
    weights: Annotated[str, DecidesNothing("location of the bytes; the task that reads them holds their SHA-256")]
    """"zoo:NAME", the path of a file, "trained" here or "exact"."""
    control_of: tuple[str, ...]
    sampler: SamplerSpec
    extractor: ExtractorSpec
    statistics: StatisticsSpec | None = None
    """The file of statistics that its quality is measured against; None for the pictures of the reference split."""
    n_images: int
    tier: Tier
    training: int = 0
    """Which training of the network, with its searches and tunings."""
    network_limit: NetworkLimit | None = None
    """None where the network's card has none for this feature network and number of images."""
    fid_targets: tuple[float, ...] = ()
    """Of the data set, loosest first."""
    equivalence_margin: float | None = None
    """Of FID."""
    more_steps_in: str | None = None
    """A suite that has the method at more step counts."""
    factors: Annotated[dict[str, str], DecidesNothingAs({})] = Field(default_factory=dict)
    """Level of each factor of the suite's factorial design; none for a trial that is no run of one."""
    sample_ids: tuple[str, ...]
    score_id: str
    fidelity_id: str | None = None
    """Task that compares its images with those of its partner, the same sampler without acceleration."""
    partner: Annotated[str, DecidesNothing("follows from the sampler")] = ""
    """The partner's name by its parts; empty where there is none."""
    no_partner: Annotated[str, DecidesNothing("follows from the sampler and the suite")] = ""
    """Why there is none."""
    backbone_sha256: str | None = None
    """Of the file that LPIPS is taken with."""
    time_id: str
    timed_sample_ids: tuple[str, ...] = ()
    """The images of the trial that was timed in its place; empty where its own time is taken."""
    fid_band: tuple[float, float] | None
    """Where the clock's FID must lie."""
    expect: tuple[Expectation, ...]
    clock_score_id: Annotated[str, _REWRITTEN]
    other_seed_score_ids: Annotated[tuple[str, ...], _REWRITTEN] = ()
    """Scores of the same trial from other initial noise."""
    clock_time_id: Annotated[str | None, _REWRITTEN] = None
    """The clock's own timing, alone on its node, where this one has neighbours; else None."""
    baseline_score_id: Annotated[str | None, _REWRITTEN] = None
    relations: Annotated[Relations, _REWRITTEN] = Relations()

    def needs(self) -> tuple[str, ...]:
        compared = (self.clock_score_id, *(one for one in (self.baseline_score_id, self.clock_time_id) if one))
        own = (self.score_id, *self.sample_ids, *((self.fidelity_id,) if self.fidelity_id else ()))
        compared += self.other_seed_score_ids
        return (*self.sampler.needs(), *own, *compared, self.time_id, *self.timed_sample_ids)
