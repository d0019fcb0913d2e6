"""The pictures that each feature network was made for, known without loading it.

Apart from `harness.metrics.extractors`, whose code is part of the identity of every result: a plan compares shapes, and
no result depends on this.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PictureShape:
    """Shape of the pictures that a feature network was made for."""

    side: int | None
    """Pixels of height and width; None where it takes every size, as it resizes pictures or has no weights."""
    channels: int | None
    """None where every number of channels is meant."""
    converts: str = ""
    """What it does to pictures of other channels, and what its features then miss."""


_COLOUR = "repeats grey to three equal channels, as it saw none of in its training"
_SHAPES = {
    "cifar10-16-cnn": PictureShape(16, 3, _COLOUR),
    "cifar10-cnn": PictureShape(32, 3, _COLOUR),
    "digits-cnn": PictureShape(8, 1, "averages colours to grey, so that its FID is blind to colour"),
    "dinov2": PictureShape(None, None),  # it resizes to 224x224
    "inception-v3-compat": PictureShape(None, None),  # it resizes to 299x299
    "pixels": PictureShape(None, None),
}


def picture_shape(extractor: str) -> PictureShape:
    """Return the shape of the pictures that the feature network of a known name was made for."""
    return _SHAPES[extractor]


def find_extractors(side: int) -> list[str]:
    """Return the names of the feature networks that take pictures of so many pixels a side, sorted."""
    return sorted(name for name, shape in _SHAPES.items() if shape.side in (None, side))
