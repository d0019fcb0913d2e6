"""FID: the Frechet distance of features to the reference set, with its interval and its bias floor.

Heusel et al. 2017, arXiv:1706.08500; the floor after Chong & Forsyth 2020, arXiv:1911.07023.
"""

from __future__ import annotations

from harness.metrics.frechet import bias_floor, drawn_distance, frechet_distance
from harness.metrics.moments import merge_all
from harness.metrics.scored_features import Figures, ScoredFeatures
from harness.specs.rules.quality import FID_CHANCE
from harness.stats import interval


def fid_figures(scored: ScoredFeatures) -> Figures:
    """Return FID with the ends of its 95 % interval and its floor; it needs more images than features.

    The floor needs the number of reference images too.
    """
    reference, dim = scored.reference, scored.reference.dim
    for n, which in ((scored.n_images, "generated"), (reference.n, "reference")):
        if n is not None and n <= dim:
            reason = f"no FID: {n} {which} images for {dim} features; expected more images than features"
            return Figures(reasons=[reason])

    total = merge_all(scored.by_group)
    fid = frechet_distance(reference.frechet, total)
    found = Figures({"fid": fid, "fid_least": drawn_distance(reference.frechet, total.n, FID_CHANCE)})
    if reference.n is None:
        found.reasons.append("no bias floor of FID: the number of reference images is not stated")
    else:
        found.values["fid_floor"] = bias_floor(reference.frechet, total.n, reference.n)
    if not scored.has_intervals:
        return found

    smallest = total.n - max(part.n for part in scored.by_group)
    if smallest <= dim:
        found.reasons.append(f"no interval of FID: {smallest} images stay without a group, for {dim} features")
        return found

    without = [frechet_distance(reference.frechet, total.without(part)) for part in scored.by_group]
    found.replicates["fid"], ends = without, interval(fid, without)
    found.values |= {"fid_low": ends.low, "fid_high": ends.high}
    return found
