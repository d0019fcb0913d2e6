"""Precision and recall by nearest-neighbour manifolds, with torch-fidelity.

Kynkaanniemi et al. 2019, arXiv:1904.06991.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_fidelity.metric_prc import prc_features_to_metric

from harness.metrics.feature_stream import evenly_spaced
from harness.metrics.scored_features import NO_FEATURES, Figures, ScoredFeatures
from harness.specs.rules.quality import NEIGHBOURS
from harness.stats import interval

_ROWS = 1000  # of a distance matrix in memory at a time
_LISTED = 40  # nearest ones of an image: k of them lie outside of any twentieth, but for rare clusters


def precision_recall_figures(scored: ScoredFeatures) -> Figures:
    """Return precision and recall at equal numbers of images on both sides, evenly spaced in the larger set."""
    if not scored.reference.has_features:
        return Figures(reasons=[f"no precision and recall: {NO_FEATURES}"])
    generated, reference = scored.spaced, scored.reference.kernel_features
    n = min(len(generated), len(reference))
    if n <= NEIGHBOURS:
        return Figures(reasons=[f"no precision and recall: found {n} images; expected more than {NEIGHBOURS}"])

    centre = reference.mean(axis=0, dtype=np.float64)  # distances far from the origin lose their digits
    made, real = (
        torch.from_numpy(features[evenly_spaced(len(features), n)].astype(np.float64) - centre)
        for features in (generated, reference)  # torch-fidelity's order: input1 generated, input2 reference
    )
    found = prc_features_to_metric(
        made, real, prc_neighborhood=NEIGHBOURS, prc_batch_size=_ROWS, save_cpu_ram=True, verbose=False
    )

    figures = Figures({name: found[name] for name in ("precision", "recall")})
    if scored.has_intervals:
        groups = torch.from_numpy(scored.groups_of(len(generated))[evenly_spaced(len(generated), n)])
        figures.replicates = _without_groups(made, real, groups, scored.groups)
        for name, values in figures.replicates.items():
            ends = interval(found[name], values)
            figures.values |= {f"{name}_low": max(ends.low, 0.0), f"{name}_high": min(ends.high, 1.0)}
    return figures


def _without_groups(generated: Tensor, reference: Tensor, groups: Tensor, count: int) -> dict[str, list[float]]:
    """Return precision and recall without each group of generated images; the reference stays whole.

    An image's radius is the distance to its k-th neighbour: without a group it grows where one of the k was in it.
    """
    inside = torch.cat([_is_inside(part, reference, _radii(reference)) for part in generated.split(_ROWS)])
    precision = [float(inside[groups != group].double().mean()) for group in range(count)]

    nearest = [_nearest(part, generated) for part in generated.split(_ROWS)]
    distances, neighbours = (torch.cat([pair[k] for pair in nearest]) for k in range(2))
    covered = torch.zeros(count, dtype=torch.float64)
    grown = [_radii_without(distances, groups[neighbours], group) for group in range(count)]
    for part in reference.split(_ROWS):
        apart = torch.cdist(part, generated)
        near = apart <= distances[:, NEIGHBOURS]
        by_group = torch.stack([near[:, groups == group].any(1) for group in range(count)], 1)
        for group in range(count):
            of_others = by_group[:, torch.arange(count) != group].any(1)
            changed = (grown[group] > distances[:, NEIGHBOURS]) & (groups != group)
            further = (apart[:, changed] <= grown[group][changed]).any(1)
            covered[group] += (of_others | further).sum()
    return {"precision": precision, "recall": (covered / len(reference)).tolist()}


def _radii(features: Tensor) -> Tensor:
    return torch.cat([_nearest(part, features)[0][:, NEIGHBOURS] for part in features.split(_ROWS)])


def _nearest(part: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances of images to their nearest ones, themselves among them, and which these are."""
    found = torch.cdist(part, features).topk(min(_LISTED, len(features)), largest=False)
    return found.values, found.indices


def _is_inside(part: Tensor, features: Tensor, radii: Tensor) -> Tensor:
    return (torch.cdist(part, features) <= radii).any(1)


def _radii_without(distances: Tensor, groups: Tensor, group: int) -> Tensor:
    """Return each image's distance to its k-th neighbour outside of a group: of those that are listed, at most."""
    outside = groups != group
    rank = outside.cumsum(1)
    kth = (rank == NEIGHBOURS + 1) & outside
    place = torch.where(kth.any(1), kth.double().argmax(1), distances.shape[1] - 1)
    return distances.gather(1, place[:, None])[:, 0]
