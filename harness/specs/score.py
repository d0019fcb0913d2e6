"""Score: the quality of one trial's images from their features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from harness.specs.audits import CopyFigures
from harness.specs.base import Closed, DecidesNothing, Output, Spec
from harness.task import Cut, unit_key


class CutImages(Closed):
    """Images, the id of the task that made them, and how that was cut into units."""

    task_id: str
    cut: Cut

    def units(self) -> Iterator[tuple[int, str]]:
        """Yield the index of the first image of every unit, and the name of the unit's result."""
        for number in range(len(self.cut)):
            span = self.cut.span(number)
            yield span.start, unit_key(self.task_id, span)


class Replicate(Closed):
    """The figures without one jackknife group, by metric; one that has no value is left out."""

    group: int
    figures: dict[str, float]


class ScoreOutput(Output):
    """Quality figures by column; one that could not be had is left out, and `reasons` says why."""

    n_images: int
    reference_n: int | None
    """None where a file of statistics does not state it."""
    figures: dict[str, float]
    replicates: list[Replicate]
    reasons: list[str]
    copies: CopyFigures | None = None
    """None where the reference has too few images, or too many that are equal, or features of none."""
    has_reference_features: bool = True
    """False where the reference is a file of mean and covariance alone."""
    images_sha256: str


class ScoreSpec(Spec):
    """A trial's images, and the reference they are scored against."""

    kind = "score"
    entry = "harness.tasks.score"
    output = ScoreOutput

    images_id: str
    """Identity of the images, without what they are compared with."""
    images_by_task: Annotated[tuple[CutImages, ...], DecidesNothing("who makes these images")]
    reference_id: str
    n_images: int
    groups: int
    """Of the jackknife."""

    def needs(self) -> tuple[str, ...]:
        return (*self.spends(), self.reference_id)

    def spends(self) -> tuple[str, ...]:
        return tuple(images.task_id for images in self.images_by_task)
