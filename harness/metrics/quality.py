"""Quality of generated images from their features: FID, KID, precision and recall, with errors and reasons.

Statistics stream: one shard is in memory at a time, plus one set of moments per jackknife group and the features of
`kernel_limit` evenly spaced images (the jackknife groups of KID are therefore those of FID, thinned evenly).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from harness.metrics.feature_stream import Features, Shard, blocks, spread
from harness.metrics.frechet import ReferenceMoments, bias_floor, frechet_distance
from harness.metrics.kernel_distance import kernel_sums
from harness.metrics.moments import Moments, merge_all
from harness.metrics.reference import ReferenceFeatures, reference_of
from harness.specs.rules.quality import KERNEL_LIMIT, NEIGHBOURS
from harness.stats import GROUPS, interval, standard_error

__all__ = ["Quality", "ReferenceFeatures", "Replicate", "reference_of", "score"]

PRC_ROWS = 1000  # of a distance matrix in memory at a time


class Replicate(NamedTuple):
    """The figures without one jackknife group; None where the figure itself has no value."""

    group: int
    fid: float | None
    kid: float | None


@dataclass
class Quality:
    """Quality figures of one trial; a figure that could not be had is None, and `reasons` says why."""

    n_images: int
    reference_n: int
    fid: float | None = None
    fid_low: float | None = None
    fid_high: float | None = None
    fid_floor: float | None = None
    kid: float | None = None
    kid_se: float | None = None
    precision: float | None = None
    recall: float | None = None
    replicates: list[Replicate] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def score(
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
    by_group, kept = _collect(shards, reference.dim, n_images, groups, kernel_limit)
    quality = Quality(n_images, reference.n)
    jackknife = n_images >= 2 * groups
    if not jackknife:
        quality.reasons.append(f"no intervals: {n_images} images are fewer than 2 for each of {groups} groups")
    fids = _add_fid(quality, by_group, reference.frechet, jackknife)
    kids = _add_kid(quality, kept, reference, groups, jackknife)
    _add_precision_recall(quality, kept, reference.kernel_features)
    if jackknife:
        quality.replicates = [Replicate(g, fids[g] if fids else None, kids[g] if kids else None) for g in range(groups)]
    return quality


def _collect(
    shards: Iterable[Shard], dim: int, n: int, groups: int, kernel_limit: int
) -> tuple[list[Moments], Features]:
    """Return the moments of every group that has images, and the features of evenly spaced images [m, d]."""
    by_group: dict[int, Moments] = {}
    kept: list[Features] = []
    chosen = spread(n, kernel_limit)
    for group, start, features in blocks(shards, n, groups):
        if features.shape[1] != dim:
            raise ValueError(f"found {features.shape[1]} features per image; the reference set has {dim}")
        part = Moments.of(features)
        by_group[group] = by_group[group].merge(part) if group in by_group else part
        kept.append(features[chosen[(chosen >= start) & (chosen < start + len(features))] - start])
    return list(by_group.values()), np.concatenate(kept)


def _add_fid(quality: Quality, by_group: list[Moments], reference: ReferenceMoments, jackknife: bool) -> list[float]:
    """Fill in FID with interval and floor; return its replicates by group, none where there is no interval."""
    dim = len(reference.moments.mean)
    for n, which in ((quality.n_images, "generated"), (quality.reference_n, "reference")):
        if n <= dim:
            quality.reasons.append(f"no FID: {n} {which} images for {dim} features; expected more images than features")
            return []
    total = merge_all(by_group)
    quality.fid = frechet_distance(reference, total)
    quality.fid_floor = bias_floor(reference, total.n, reference.moments.n)
    if not jackknife:
        return []
    smallest = total.n - max(part.n for part in by_group)
    if smallest <= dim:
        quality.reasons.append(f"no interval of FID: {smallest} images stay without a group, for {dim} features")
        return []
    replicates = [frechet_distance(reference, total.without(part)) for part in by_group]
    ends = interval(quality.fid, replicates)
    quality.fid_low, quality.fid_high = ends.low, ends.high
    return replicates


def _add_kid(
    quality: Quality, kept: Features, reference: ReferenceFeatures, groups: int, jackknife: bool
) -> list[float]:
    """Fill in KID with its standard error; return its replicates by group, none where there is no error."""
    if len(kept) < 2:
        quality.reasons.append(f"no KID: found {len(kept)} generated image; expected at least 2")
        return []
    group_of_kept = spread(quality.n_images, len(kept)) * groups // quality.n_images
    bounds = np.searchsorted(group_of_kept, np.arange(groups + 1)).tolist()
    sums = kernel_sums(kept, reference.kernel_features, reference.kernel_pair_mean, bounds)
    quality.kid = sums.distance()
    if not jackknife:
        return []
    replicates = [sums.distance(leave_out=group) for group in range(groups)]
    quality.kid_se = standard_error(replicates)
    return replicates


def _add_precision_recall(quality: Quality, generated: Features, reference: Features) -> None:
    """Fill in precision and recall at equal numbers of images on both sides, evenly spaced in the larger set."""
    n = min(len(generated), len(reference))
    if n <= NEIGHBOURS:
        quality.reasons.append(f"no precision and recall: found {n} images; expected more than {NEIGHBOURS}")
        return
    centre = reference.mean(axis=0, dtype=np.float64)  # distances far from the origin lose their digits
    sides = [
        torch.from_numpy(features[spread(len(features), n)].astype(np.float64) - centre)
        for features in (generated, reference)  # torch-fidelity's order: input1 generated, input2 reference
    ]
    found = prc_features_to_metric(
        *sides, prc_neighborhood=NEIGHBOURS, prc_batch_size=PRC_ROWS, save_cpu_ram=True, verbose=False
    )
    quality.precision, quality.recall = found["precision"], found["recall"]
