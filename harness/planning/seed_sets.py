"""Trials that differ in their initial noise alone: their FIDs must agree within noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.identity import content_hash
from harness.planning.trial import Trial
from harness.specs.base import deciding_fields


def group_by_seed_set(trials: Sequence[Trial]) -> Mapping[int, Sequence[Trial]]:
    """Return, by the id() of each trial, those that are the same but for their seed set, itself among them."""
    if len({trial.seed_set for trial in trials}) < 2:
        return {id(trial): (trial,) for trial in trials}
    groups: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        sampler = trial.sampler.model_copy(update={"seed_set": 0})
        groups[content_hash([deciding_fields(sampler), trial.n_images])].append(trial)
    return {id(trial): group for group in groups.values() for trial in group}
