"""Whether a plan makes images enough for FID: a sentence, said before anything runs."""

from __future__ import annotations

from harness.data.splits import count_images
from harness.planning.plan import Plan
from harness.planning.trial import Trial
from harness.specs.sampler import ExtractorSpec


def describe_missing_fid(plan: Plan) -> str:
    """Return why rows of a plan will have no FID, what to do about it; "" where all can have one.

    FID needs more images than features, on both sides.
    """
    by_dataset = {planned.trial.dataset.name: planned for planned in plan.trials}

    for name, planned in sorted(by_dataset.items()):
        trial, extractor = planned.trial, planned.row.extractor
        dim, n_reference = feature_count(extractor, trial), count_images(trial.dataset, trial.dataset.reference)

        # too few on one side
        rule = f"for the {dim:,} features of {extractor.name}; FID needs more images than features"
        if trial.n_images <= dim:
            return (
                f'every row on "{name}" will be INVALID: found n_images = {trial.n_images:,} {rule}, '
                f"so set n_images to {dim + 1:,} or more"
            )
        if n_reference is not None and n_reference <= dim:
            return (
                f'every row on "{name}" will be INVALID: found {n_reference:,} reference images {rule}, '
                "so choose another extractor"
            )
    return ""


def feature_count(extractor: ExtractorSpec, trial: Trial) -> int:
    """Return the features per image: the extractor's own number, else as many as an image has values."""
    card = trial.dataset
    return card.channels * card.resolution**2 if extractor.dim is None else extractor.dim
