"""The runs of a suite's factorial design, and the level of each factor in each of them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, get_args

from harness.config.factorial_settings import Factor
from harness.config.suite import Suite
from harness.errors import UsageError
from harness.factorial_design import Design
from harness.planning.trial import Trial

_ALL = get_args(Factor)


def halved_product(choices: Mapping[str, Sequence[Any]], half_of: Collection[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the combinations of the choices; of those in `half_of` where an even number is the second choice."""
    for combination in itertools.product(*(enumerate(choice) for choice in choices.values())):
        seconds = sum(place for name, (place, _) in zip(choices, combination, strict=True) if name in half_of)
        if seconds % 2 == 0:
            yield tuple(choice for _, choice in combination)


def find_levels(suite: Suite, trials: Sequence[Trial]) -> dict[int, dict[str, str]]:
    """Return the levels of each run by the trial's `id()`: by factor, in the order of the suite; {} without a design.

    Controls are no runs. UsageError for runs that differ in what is no factor, for a factor of one level, and for runs
    too few to tell the main effects apart.
    """
    if suite.factorial is None:
        return {}
    factors = suite.factorial.factors
    runs = [trial for trial in trials if not trial.control_of]
    where = f"{suite.where}, [factorial]"
    for factor in factors:
        if len(levels := {trial.level(factor) for trial in runs}) < 2:
            raise UsageError(
                f'{where}: the factor "{factor}" has the one level {", ".join(levels) or "of none"} among the runs; '
                "expected two or more, so list others or leave the factor out"
            )

    for group in group_runs(factors, runs).values():
        _check_other_fields(where, factors, group)
        _check_main_effects(where, factors, group)
    return {id(trial): {factor: trial.level(factor) for factor in factors} for trial in runs}


def group_runs(factors: Sequence[str], runs: Sequence[Trial]) -> dict[tuple[str, str], list[Trial]]:
    """Return the runs of each design: by data set and, where that is no factor, by network."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in runs:
        network = "" if "network" in factors else trial.network.name
        groups.setdefault((trial.dataset.name, network), []).append(trial)
    return groups


def distinct_runs(factors: Sequence[str], runs: Sequence[Trial]) -> list[Mapping[str, str]]:
    """Return the levels of the runs, those of further trainings and seed sets left out."""
    found = {tuple(trial.level(factor) for factor in factors): trial for trial in runs}
    return [dict(zip(factors, levels, strict=True)) for levels in found]


def _check_other_fields(where: str, factors: Sequence[str], runs: Sequence[Trial]) -> None:
    """Raise UsageError for runs that differ in a field that is no factor."""
    for field in _ALL:
        if field in factors:
            continue
        first = runs[0]
        for trial in runs:
            if (found := trial.level(field)) != (usual := first.level(field)):
                raise UsageError(
                    f"{where}: {first.short} has the {field} {usual} and {trial.short} {found}, and {field} is no "
                    f'factor; add "{field}" to factors, or control_of to a trial that is no run'
                )


def _check_main_effects(where: str, factors: Sequence[str], runs: Sequence[Trial]) -> None:
    """Raise UsageError where the runs cannot tell the main effects apart."""
    design = Design(distinct_runs(factors, runs))
    if mixed := [alias for alias in design.aliases if len(alias.term) == 1]:
        others = " and ".join(" × ".join(term) for term in mixed[0].others)
        raise UsageError(
            f"{where}: the runs on {runs[0].network.name} cannot tell the factor {mixed[0].term[0]} from {others}; "
            "add runs that have its levels in other combinations"
        )
