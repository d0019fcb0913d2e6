"""Precision and recall by nearest-neighbour manifolds, with torch-fidelity.

Kynkaanniemi et al. 2019, arXiv:1904.06991.
"""

from __future__ import annotations

import numpy as np
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from harness.metrics.feature_stream import evenly_spaced
from harness.metrics.scored_features import NO_FEATURES, Figures, ScoredFeatures
from harness.specs.rules.quality import NEIGHBOURS

_ROWS = 1000  # of a distance matrix in memory at a time


def precision_recall_figures(scored: ScoredFeatures) -> Figures:
    """Return precision and recall at equal numbers of images on both sides, evenly spaced in the larger set."""
    if not scored.reference.has_features:
        return Figures(reasons=[f"no precision and recall: {NO_FEATURES}"])
    generated, reference = scored.spaced, scored.reference.kernel_features
    n = min(len(generated), len(reference))
    if n <= NEIGHBOURS:
        return Figures(reasons=[f"no precision and recall: found {n} images; expected more than {NEIGHBOURS}"])

    centre = reference.mean(axis=0, dtype=np.float64)  # distances far from the origin lose their digits
    sides = [
        torch.from_numpy(features[evenly_spaced(len(features), n)].astype(np.float64) - centre)
        for features in (generated, reference)  # torch-fidelity's order: input1 generated, input2 reference
    ]
    found = prc_features_to_metric(
        *sides, prc_neighborhood=NEIGHBOURS, prc_batch_size=_ROWS, save_cpu_ram=True, verbose=False
    )
    return Figures({name: found[name] for name in ("precision", "recall")})
