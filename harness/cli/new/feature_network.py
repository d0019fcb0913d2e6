"""Which feature network a data set's FID can be computed with, and how many pictures it wants."""

from __future__ import annotations

from dataclasses import dataclass

from harness.cli.new.suite_text import images_for
from harness.metrics.extractors import extractor_spec
from harness.metrics.picture_shapes import find_extractors, picture_shape

_MOST_PIXEL_FEATURES = 256
"""Values of a picture up to which its pixels can be its features: FID on more wants thousands of pictures."""


@dataclass(frozen=True)
class FeatureNetwork:
    """A feature network for pictures of one shape."""

    name: str
    dim: int
    caution: str = ""
    """What its features miss of such pictures; empty where it was made for them."""

    @property
    def wanted_images(self) -> int:
        """Return how many images FID wants."""
        return images_for(self.dim)


def fitting_feature_network(channels: int, resolution: int) -> FeatureNetwork | None:
    """Return the shipped feature network for pictures of a shape, their pixels where these are few, or None."""
    for name in find_extractors(resolution):
        shape = picture_shape(name)
        if shape.side != resolution:
            continue  # it takes every size
        spec = extractor_spec(name)
        caution = "" if shape.channels in (None, channels) else f"{name} {shape.converts}"
        return FeatureNetwork(name, spec.dim or 0, caution)

    values = channels * resolution**2
    return FeatureNetwork("pixels", values) if values <= _MOST_PIXEL_FEATURES else None


def describe_no_feature_network(resolution: int) -> str:
    """Return why there is no FID for pictures of a size, and what is possible."""
    sides = [side for side in range(1, resolution) if fitting_feature_network(3, side) and side >= 8]
    smaller = f"--resolution {sides[-1]} averages them down to a size that one takes, or " if sides else ""
    return (
        f"no feature network here takes {resolution}x{resolution} pictures: {smaller}write a suite by hand with the "
        'literature\'s, which wants its weights and more than 2048 images (extractor = "inception-v3-compat")'
    )
