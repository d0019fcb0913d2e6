"""What a metric from features is computed from, and what it returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.metrics.feature_stream import Features, Shard, blocks, evenly_spaced
from harness.metrics.moments import Moments
from harness.metrics.reference import ReferenceFeatures

NO_FEATURES = "the reference is a file of mean and covariance, which holds no features of images"
"""Why a figure is missing that compares images one by one."""


@dataclass(frozen=True)
class ScoredFeatures:
    """Features of generated images, collected in one pass, and the reference set."""

    n_images: int
    by_group: list[Moments]
    """Moments of each jackknife group that has images."""
    spaced: Features
    """Features of evenly spaced images, float32 [m, d]."""
    reference: ReferenceFeatures
    groups: int
    """Jackknife groups that the images are cut into, some empty where there are fewer images."""
    has_intervals: bool
    """Whether there are images enough to leave out a group."""

    @classmethod
    def collect(
        cls, shards: Iterable[Shard], reference: ReferenceFeatures, n_images: int, groups: int, kernel_limit: int
    ) -> ScoredFeatures:
        """Read shards (start index, float32 [m, d]) in index order; ValueError for features of another width."""
        by_group: dict[int, Moments] = {}
        spaced: list[Features] = []
        chosen = evenly_spaced(n_images, kernel_limit)

        for group, start, features in blocks(shards, n_images, groups):
            if features.shape[1] != reference.dim:
                raise ValueError(f"found {features.shape[1]} features per image; the reference set has {reference.dim}")
            part = Moments.of(features)
            by_group[group] = by_group[group].merge(part) if group in by_group else part
            spaced.append(features[chosen[(chosen >= start) & (chosen < start + len(features))] - start])

        moments = list(by_group.values())
        return cls(n_images, moments, np.concatenate(spaced), reference, groups, has_intervals=n_images >= 2 * groups)

    def groups_of(self, n: int) -> npt.NDArray[np.int64]:
        """Return the jackknife group of each of n images that are evenly spaced among all: FID's groups, thinned."""
        return evenly_spaced(self.n_images, n) * self.groups // self.n_images


@dataclass
class Figures:
    """What a metric returns: values by column of its declaration, and without each jackknife group."""

    values: dict[str, float] = field(default_factory=dict)
    """Columns that have no value are left out."""
    replicates: dict[str, list[float]] = field(default_factory=dict)
    """Figures without group k, by name; none where there is no interval."""
    reasons: list[str] = field(default_factory=list)
    """Why a value is missing."""
