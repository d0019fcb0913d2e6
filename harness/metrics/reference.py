"""The reference set of quality figures: its statistics, and features of evenly spaced images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.metrics.authenticity import Neighbours
from harness.metrics.feature_stream import Features, Shard, blocks, evenly_spaced
from harness.metrics.frechet import ReferenceMoments
from harness.metrics.kernel_distance import pair_mean
from harness.metrics.moments import Moments
from harness.specs.rules.quality import KERNEL_LIMIT


@dataclass(frozen=True)
class ReferenceFeatures:
    """What scoring needs of the reference set; built by a reference task, then kept as tensors.

    A set that is given as mean and covariance alone has no kept features: `kernel_features` is [0, d].
    """

    frechet: ReferenceMoments
    kernel_features: Features  # of min(n, limit) evenly spaced images, [m, d]
    kernel_pair_mean: float  # mean kernel value over their pairs
    neighbours: Neighbours  # how near the kept features are to each other

    @property
    def n(self) -> int | None:
        """Images in the reference set; None where it is not stated."""
        return self.frechet.n

    @property
    def dim(self) -> int:
        """Features per image."""
        return len(self.frechet.mean)

    @property
    def has_features(self) -> bool:
        """Whether features of images are at hand, and not only their mean and covariance."""
        return len(self.kernel_features) > 0

    def to_tensors(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return everything as named arrays, for safetensors; `n` is empty where it is not known."""
        return {
            "n": np.array([] if self.n is None else [self.n], dtype=np.int64),
            "mean": self.frechet.mean,
            "factor": np.ascontiguousarray(self.frechet.factor),
            "eigenvalues": self.frechet.eigenvalues,
            "kernel_features": np.ascontiguousarray(self.kernel_features),
            "kernel_pair_mean": np.array([self.kernel_pair_mean], dtype=np.float64),
            "neighbour_distances": self.neighbours.distances,
            "copy_ratio": np.array([self.neighbours.copy_ratio], dtype=np.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, npt.NDArray[np.generic]]) -> ReferenceFeatures:
        """Return the reference set that `to_tensors` wrote."""
        real = {name: np.asarray(array, dtype=np.float64) for name, array in tensors.items() if "features" not in name}
        n = int(real["n"][0]) if len(real["n"]) else None
        frechet = ReferenceMoments(n, real["mean"], real["factor"], real["eigenvalues"])
        features = np.asarray(tensors["kernel_features"], dtype=np.float32)
        neighbours = Neighbours(real["neighbour_distances"], float(real["copy_ratio"][0]))
        return cls(frechet, features, float(real["kernel_pair_mean"][0]), neighbours)


def reference_of_moments(frechet: ReferenceMoments) -> ReferenceFeatures:
    """Return the reference set of which only mean and covariance are known."""
    return ReferenceFeatures(frechet, np.zeros((0, len(frechet.mean)), np.float32), 0.0, Neighbours.none())


def reference_of(features: Features, kernel_limit: int = KERNEL_LIMIT) -> ReferenceFeatures:
    """Return the reference set of features [n, d], float32, n >= 2."""
    return reference_of_shards([(0, features)], len(features), kernel_limit)


def reference_of_shards(shards: Iterable[Shard], n: int, kernel_limit: int = KERNEL_LIMIT) -> ReferenceFeatures:
    """Return the reference set of n images whose features arrive as (start index, [m, d]) in index order."""
    if n < 2:
        raise ValueError(f"found {n} reference images; expected at least 2")

    moments: Moments | None = None
    kept: list[Features] = []
    chosen = evenly_spaced(n, kernel_limit)
    for _, start, features in blocks(shards, n, groups=1):
        part = Moments.of(features)
        moments = part if moments is None else moments.merge(part)
        kept.append(features[chosen[(chosen >= start) & (chosen < start + len(features))] - start])

    assert moments is not None  # n >= 2, so there was a block
    selection = np.concatenate(kept)
    return ReferenceFeatures(ReferenceMoments.of(moments), selection, pair_mean(selection), Neighbours.of(selection))
