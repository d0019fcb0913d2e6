"""Fidelity: how far a trial's images are from those of the same sampler without acceleration."""

from __future__ import annotations

from typing import Annotated

from harness.specs.base import Closed, DecidesNothing, Output, Spec
from harness.specs.score import CutImages, Replicate


class BackboneSpec(Closed):
    """The file of AlexNet's weights that LPIPS is taken with."""

    path: Annotated[str, DecidesNothing("location of the bytes")]
    sha256: str


class FidelityOutput(Output):
    """Figures by column; one that could not be had is left out, and `reasons` says why."""

    figures: dict[str, float]
    replicates: list[Replicate]
    reasons: list[str]


class FidelitySpec(Spec):
    """A trial's images, and those of its partner from the same noise."""

    kind = "fidelity"
    entry = "harness.tasks.fidelity"
    output = FidelityOutput

    images_id: str
    """Identity of the images, without what they are compared with."""
    partner_images_id: str
    images_by_task: Annotated[tuple[CutImages, ...], DecidesNothing("who makes these images")]
    partner_by_task: Annotated[tuple[CutImages, ...], DecidesNothing("who makes these images")]
    n_images: int
    groups: int
    """Of the jackknife."""
    backbone: BackboneSpec | None = None
    """None: no LPIPS."""

    def needs(self) -> tuple[str, ...]:
        return self.spends()

    def spends(self) -> tuple[str, ...]:
        return tuple(images.task_id for images in (*self.images_by_task, *self.partner_by_task))

    def files(self) -> tuple[str, ...]:
        return () if self.backbone is None else (self.backbone.path,)
