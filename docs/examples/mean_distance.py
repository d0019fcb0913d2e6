"""Mean distance: how far the mean of the generated features lies from that of the reference.

The first term of FID alone (Heusel et al. 2017, arXiv:1706.08500), as a metric from features. It wants no features of
single reference images, so a file of mean and covariance is enough.
"""

from __future__ import annotations

import numpy as np

from harness.metrics.moments import Moments, merge_all
from harness.metrics.scored_features import Figures, ScoredFeatures


def mean_distance_figures(scored: ScoredFeatures) -> Figures:
    """Return the Euclidean distance of the mean features, and without each jackknife group."""
    figures = Figures({"mean_distance": _distance(scored.by_group, scored)})
    if scored.has_intervals:
        rests = [scored.by_group[:group] + scored.by_group[group + 1 :] for group in range(len(scored.by_group))]
        figures.replicates["mean_distance"] = [_distance(rest, scored) for rest in rests]
    return figures


def _distance(groups: list[Moments], scored: ScoredFeatures) -> float:
    return float(np.linalg.norm(merge_all(groups).mean - scored.reference.frechet.mean))
