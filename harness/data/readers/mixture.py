"""Reader `mixture`: a Gaussian mixture in [-1, 1] whose exact score is known; its pixels are drawn, not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from harness.data.readers.base import Pixels, Reader, WantedSplit


class MixtureReader(Reader):
    """`means` [components][values] (values in C, H, W order), `stds` and `weights` [components], in [-1, 1] units.

    A split's `source` "start:stop" selects rows of the one endless sequence that `seed` defines.
    """

    means: list[list[float]] = Field(min_length=1)
    stds: list[float]
    weights: list[float]
    seed: int = Field(ge=0)

    def check(self, values: int) -> None:
        """Raise ValueError unless every component has a mean of so many values, a std and a weight."""
        lengths = {len(mean) for mean in self.means}
        if lengths != {values}:
            raise ValueError(f"means have {sorted(lengths)} values; expected {values} = channels x resolution^2")

        if not len(self.means) == len(self.stds) == len(self.weights):
            raise ValueError(
                f"found {len(self.means)} means, {len(self.stds)} stds and {len(self.weights)} weights; "
                "expected one of each per component"
            )

        if min(self.stds) <= 0 or min(self.weights) <= 0:
            raise ValueError("found a std or weight that is not positive; expected positive ones")
        if abs(sum(self.weights) - 1) > 1e-9:
            raise ValueError(f"weights add up to {sum(self.weights):g}; expected 1")

    def distribution(self) -> Mapping[str, Any]:
        """Return means [components][values], stds [components] and weights [components] as lists."""
        return {"means": self.means, "stds": self.stds, "weights": self.weights}

    def read(self, wanted: WantedSplit) -> Pixels:
        """Return samples rounded to uint8, with the component of each as its label."""
        start, stop = wanted.rows()
        components, samples = self.draw(stop)
        images = wanted.allocate(stop - start)
        pixels = np.clip(np.round((samples[start:] + 1) * 127.5), 0, 255)
        images[:] = pixels.reshape(images.shape)
        return Pixels(images, components[start:])

    def draw(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first n components int64 [n] and samples float64 [n, values]; a longer draw begins the same."""
        which = np.random.Generator(np.random.Philox(key=[self.seed, 0])).random(n)
        noise = np.random.Generator(np.random.Philox(key=[self.seed, 1])).standard_normal((n, len(self.means[0])))
        inner_edges = np.cumsum(self.weights)[:-1]
        components = np.searchsorted(inner_edges, which, side="right").astype(np.int64)
        return components, np.array(self.means)[components] + np.array(self.stds)[components, None] * noise
