"""The reference set of quality figures: its statistics, and features of evenly spaced images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.metrics.authenticity import Neighbours, nearness
from harness.metrics.feature_stream import BLOCK, Features, Shard, blocks, check_shard, evenly_spaced
from harness.metrics.frechet import ReferenceMoments
from harness.metrics.kernel_distance import pair_mean
from harness.metrics.moments import Moments
from harness.metrics.principal_codes import PrincipalCodes
from harness.specs.rules.quality import COPY_LIMIT, KERNEL_LIMIT


@dataclass(frozen=True)
class ReferenceFeatures:
    """What scoring needs of the reference set; built by a reference task, then kept as tensors.

    A set that is given as mean and covariance alone has no kept features: `kernel_features` is [0, d].
    """

    frechet: ReferenceMoments
    kernel_features: Features  # of min(n, limit) evenly spaced images, [m, d]
    kernel_pair_mean: float  # mean kernel value over their pairs
    neighbours: Neighbours  # how near the kept features are to each other
    codes: PrincipalCodes | None = None  # of more images than were kept, for copies

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
            **({} if self.codes is None else self.codes.to_tensors()),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, npt.NDArray[np.generic]]) -> ReferenceFeatures:
        """Return the reference set that `to_tensors` wrote."""
        names = ("n", "mean", "factor", "eigenvalues", "kernel_pair_mean", "neighbour_distances", "copy_ratio")
        real = {name: np.asarray(tensors[name], dtype=np.float64) for name in names}
        n = int(real["n"][0]) if len(real["n"]) else None
        frechet = ReferenceMoments(n, real["mean"], real["factor"], real["eigenvalues"])
        features = np.asarray(tensors["kernel_features"], dtype=np.float32)
        neighbours = Neighbours(real["neighbour_distances"], float(real["copy_ratio"][0]))
        codes = PrincipalCodes.from_tensors(tensors) if "codes" in tensors else None
        return cls(frechet, features, float(real["kernel_pair_mean"][0]), neighbours, codes)

    def nearness(self, generated: Features) -> tuple[float, float, int] | None:
        """Return the share of generated features [n, d] that are copies, the median ratio, and of how many images.

        None where that cannot be said.
        """
        if (self.codes.neighbours if self.codes else self.neighbours).copy_ratio <= 0:
            return None
        if self.codes is not None:
            return *self.codes.nearness(generated), len(self.codes)
        return *nearness(generated, self.kernel_features, self.neighbours), len(self.kernel_features)


def reference_of_moments(frechet: ReferenceMoments) -> ReferenceFeatures:
    """Return the reference set of which only mean and covariance are known."""
    return ReferenceFeatures(frechet, np.zeros((0, len(frechet.mean)), np.float32), 0.0, Neighbours.none())


def reference_of(
    features: Features, kernel_limit: int = KERNEL_LIMIT, copy_limit: int = COPY_LIMIT
) -> ReferenceFeatures:
    """Return the reference set of features [n, d], float32, n >= 2."""
    return reference_of_shards([(0, features)], len(features), kernel_limit, copy_limit)


def reference_of_shards(
    shards: Iterable[Shard], n: int, kernel_limit: int = KERNEL_LIMIT, copy_limit: int = COPY_LIMIT
) -> ReferenceFeatures:
    """Return the reference set of n images whose features arrive as (start index, [m, d]) in index order."""
    collected = ReferenceCollector(n, kernel_limit, copy_limit)
    for _, _, features in blocks(shards, n, groups=1):
        collected.append(features)
    return collected.result()


class ReferenceCollector:
    """Makes the reference set of n images from features that arrive in index order; holds no more than it must.

    Held are the moments, features of evenly spaced images, and one block. Copies are looked for among up to
    `copy_limit` images, coded where these are more than the `kernel_limit` that are kept. Statistics are bitwise equal
    however the features are cut.
    """

    def __init__(self, n: int, kernel_limit: int = KERNEL_LIMIT, copy_limit: int = COPY_LIMIT) -> None:
        """ValueError for fewer than two images."""
        if n < 2:
            raise ValueError(f"found {n} reference images; expected at least 2")
        self._n, self._start = n, 0
        self._chosen = evenly_spaced(n, kernel_limit)
        self._coded = evenly_spaced(n, copy_limit if n > kernel_limit < copy_limit else 0)
        self._waiting: list[Features] = []
        self._moments: Moments | None = None
        self._kept: list[Features] = []
        self._to_code: list[Features] = []

    def append(self, features: Features) -> None:
        """Add the features [m, d], float32, of the next m images; ValueError if one is not finite."""
        seen = self._start + sum(map(len, self._waiting))
        check_shard(seen, features, seen, self._n)
        self._waiting.append(features)
        if sum(map(len, self._waiting)) < BLOCK:
            return
        joined = np.concatenate(self._waiting)
        while len(joined) >= BLOCK:
            self._add_block(joined[:BLOCK])
            joined = joined[BLOCK:]
        self._waiting = [joined.copy()] if len(joined) else []

    def result(self) -> ReferenceFeatures:
        """Return the reference set; ValueError if images are missing."""
        if self._waiting:
            self._add_block(np.concatenate(self._waiting))
            self._waiting = []
        if self._start != self._n or self._moments is None:
            raise ValueError(f"found features of {self._start} images; expected {self._n}")
        kept, moments = np.concatenate(self._kept), self._moments
        codes = None
        if len(self._coded):
            codes = PrincipalCodes.of(np.concatenate(self._to_code), moments.mean, moments.covariance())
            self._to_code = []
        return ReferenceFeatures(ReferenceMoments.of(moments), kept, pair_mean(kept), Neighbours.of(kept), codes)

    def _add_block(self, features: Features) -> None:
        part, stop = Moments.of(features), self._start + len(features)
        self._moments = part if self._moments is None else self._moments.merge(part)
        for chosen, kept in ((self._chosen, self._kept), (self._coded, self._to_code)):
            kept.append(features[chosen[(chosen >= self._start) & (chosen < stop)] - self._start])
        self._start = stop
