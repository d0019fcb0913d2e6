"""Quality of generated images from their features: every metric of `harness.schema.METRICS` that takes features.

Statistics stream: one shard is in memory at a time, plus one set of moments per jackknife group and the features of
`kernel_limit` evenly spaced images (the jackknife groups of KID are therefore those of FID, thinned evenly).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from harness.metrics.copies import highest_copy_rate
from harness.metrics.feature_stream import Shard
from harness.metrics.fid import fid_figures
from harness.metrics.kid import kid_figures
from harness.metrics.precision_recall import precision_recall_figures
from harness.metrics.reference import ReferenceFeatures
from harness.metrics.scored_features import Figures, ScoredFeatures
from harness.specs.audits import CopyFigures
from harness.specs.rules.quality import COPY_CHANCE, KERNEL_LIMIT, LEAST_COPY_RATE
from harness.stats import GROUPS

FEATURE_METRICS: dict[str, Callable[[ScoredFeatures], Figures]] = {
    "fid": fid_figures,
    "kid": kid_figures,
    "precision": precision_recall_figures,  # with recall
}
"""What computes each metric, by the name of its column; one that finds several stands under the first."""


@dataclass
class Quality:
    """Quality figures of one trial, by column; one that has no value is left out, and `reasons` says why."""

    n_images: int
    reference_n: int | None
    """None where it is not stated."""
    figures: dict[str, float] = field(default_factory=dict)
    replicates: list[dict[str, float]] = field(default_factory=list)
    """Figures without each jackknife group; empty where there are no intervals."""
    reasons: list[str] = field(default_factory=list)
    copies: CopyFigures | None = None
    """Of evenly spaced images; no metric of quality, but a check of them."""
    has_reference_features: bool = True
    """Whether single reference images could be compared."""


def measure_quality(
    shards: Iterable[Shard],
    reference: ReferenceFeatures,
    n_images: int,
    groups: int = GROUPS,
    kernel_limit: int = KERNEL_LIMIT,
) -> Quality:
    """Return the quality of n_images whose features arrive as (start index, float32 [m, d]) in index order.

    ValueError if images are missing or out of order, or features are not finite or of another width.
    """
    if n_images < 1:
        raise ValueError(f"found {n_images} generated images; expected at least 1")

    scored = ScoredFeatures.collect(shards, reference, n_images, groups, kernel_limit)
    quality = Quality(n_images, reference.n, has_reference_features=reference.has_features)
    if scored.has_intervals:
        quality.replicates = [{} for _ in range(groups)]
    else:
        quality.reasons.append(f"no intervals: {n_images} images are fewer than 2 for each of {groups} groups")

    for compute in FEATURE_METRICS.values():
        found = compute(scored)
        quality.figures |= found.values
        quality.reasons += found.reasons
        for name, values in found.replicates.items():
            for group, value in enumerate(values):
                quality.replicates[group][name] = value
    quality.copies = _copies(scored)
    return quality


def _copies(scored: ScoredFeatures) -> CopyFigures | None:
    """Return how many of the kept images are copies of reference images; None where that cannot be said."""
    if not np.isfinite(scored.spaced).all() or (found := scored.reference.nearness(scored.spaced)) is None:
        return None
    n, (rate, median, among) = len(scored.spaced), found
    return CopyFigures(
        rate=rate,
        median_ratio=median,
        highest=max(LEAST_COPY_RATE, highest_copy_rate(n, among, COPY_CHANCE)),
        images=n,
    )
