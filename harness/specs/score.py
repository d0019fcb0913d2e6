"""Score: the quality of one trial's images from their features."""

from __future__ import annotations

from typing import Annotated

from harness.specs.base import Closed, DecidesNothing, Output, Spec


class Shard(Closed):
    """The images of a span: the index of the first, and the id of the task that made them."""

    start: int
    id: str


class Replicate(Closed):
    """The figures without one jackknife group; None where the figure itself has no value."""

    group: int
    fid: float | None
    kid: float | None


class ScoreOutput(Output):
    """Quality figures; one that could not be had is None, and `reasons` says why."""

    n_images: int
    reference_n: int
    fid: float | None
    fid_low: float | None
    fid_high: float | None
    fid_floor: float | None
    kid: float | None
    kid_se: float | None
    precision: float | None
    recall: float | None
    replicates: list[Replicate]
    reasons: list[str]
    images_sha256: str


class ScoreSpec(Spec):
    """The shards of a trial's images, and the reference they are scored against."""

    kind = "score"
    entry = "harness.tasks.score"
    output = ScoreOutput

    images_id: str
    """Identity of the images, whatever they are compared with beside."""
    shards: Annotated[tuple[Shard, ...], DecidesNothing("who makes these images")]
    reference: str
    n_images: int
    groups: int
    """Of the jackknife."""

    def needs(self) -> tuple[str, ...]:
        return (*self.spends(), self.reference)

    def spends(self) -> tuple[str, ...]:
        return tuple(shard.id for shard in self.shards)
