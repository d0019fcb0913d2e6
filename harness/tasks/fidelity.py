"""Fidelity: compare a trial's images with those of its partner, read unit by unit in index order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.metrics.fidelity import measure_fidelity
from harness.metrics.lpips import Lpips, read_backbone
from harness.sampling.place import Place
from harness.specs.fidelity import BackboneSpec, FidelityOutput, FidelitySpec
from harness.specs.score import CutImages, Replicate
from harness.task import Event, Result


def run(spec: FidelitySpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield the fidelity figures."""
    own, partner = (_units(images, inputs) for images in (spec.images_by_task, spec.partner_by_task))
    lpips = None if spec.backbone is None else _lpips(spec.backbone, inputs, place)
    found = measure_fidelity(align(own, partner), spec.n_images, spec.groups, lpips)
    replicates = [Replicate(group=group, figures=one) for group, one in enumerate(found.replicates)]
    yield Result(FidelityOutput(figures=found.figures, replicates=replicates, reasons=found.reasons))


def align(own: Iterator[np.ndarray], partner: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield first index, images and partners of equal number, from units of any sizes, until one side ends."""
    start = 0
    left, right = next(own, None), next(partner, None)
    while left is not None and right is not None:
        n = min(len(left), len(right))
        yield start, left[:n], right[:n]

        # what is left of the longer unit
        start += n
        left = left[n:] if n < len(left) else next(own, None)
        right = right[n:] if n < len(right) else next(partner, None)


def _units(images_by_task: Sequence[CutImages], inputs: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Yield the images of each unit, in index order."""
    for start, unit in sorted(unit for images in images_by_task for unit in images.units()):
        tensors = inputs[unit].tensors
        if "images" not in tensors:
            raise HarnessError(f"the images from index {start} on are no sound images and were not compared")
        yield tensors["images"]


def _lpips(backbone: BackboneSpec, inputs: Mapping[str, Any], place: Place) -> Lpips:
    """Return LPIPS with a user's backbone, cached at the place between tasks."""

    def load() -> Lpips:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "alexnet.pth"
            path.write_bytes(inputs[backbone.path].tobytes())
            return Lpips(read_backbone(path), place.device)

    found: Lpips = place.models.get(f"lpips/{backbone.sha256}", load)
    return found
