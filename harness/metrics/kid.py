"""KID: the unbiased squared maximum mean discrepancy of features to the reference set, with its standard error.

Binkowski et al. 2018, arXiv:1801.01401; here over all pairs instead of random subsets.
"""

from __future__ import annotations

import numpy as np

from harness.metrics.kernel_distance import kernel_sums
from harness.metrics.scored_features import NO_FEATURES, Figures, ScoredFeatures
from harness.stats import standard_error


def kid_figures(scored: ScoredFeatures) -> Figures:
    """Return KID with its jackknife standard error; it needs two images, and features of reference images."""
    spaced, reference = scored.spaced, scored.reference
    if not reference.has_features:
        return Figures(reasons=[f"no KID: {NO_FEATURES}"])
    if len(spaced) < 2:
        return Figures(reasons=[f"no KID: found {len(spaced)} generated image; expected at least 2"])

    bounds = np.searchsorted(scored.groups_of(len(spaced)), np.arange(scored.groups + 1)).tolist()
    sums = kernel_sums(spaced, reference.kernel_features, reference.kernel_pair_mean, bounds)
    found = Figures({"kid": sums.distance()})
    if scored.has_intervals:
        without = [sums.distance(leave_out=group) for group in range(scored.groups)]
        found.replicates["kid"], found.values["kid_se"] = without, standard_error(without)
    return found
