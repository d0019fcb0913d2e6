"""Effects and interactions of a suite's factorial design on FID and time, with intervals.

Effects are ratios: least squares on the logarithm of FID and of time per image (harness.factorial_design). Runs share
the noise of images, so an effect on FID is computed without each jackknife group, and its interval is the jackknife's;
with several trainings it is computed in each of them, and the interval is Student's t (harness.report.analysis.paired).
Each run was timed in pairs with the clock, so errors of times are independent and add up in squares.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pandas import DataFrame

from harness.factorial_design import Design, Levels, Term
from harness.report.analysis.derive import Analysis, ResourceClass
from harness.report.analysis.inference import parts_half_width, two_sided_p
from harness.report.analysis.paired import TrainingFigures, combined_parts, training_figures

FID, TIME = "fid", "time"
_MOST_FACTORS = 3
"""Interactions of more factors are not listed."""
_ACCELERATE, _CONDITIONS = ("denoiser", "executor"), ("solver", "steps")
"""Whether a level of the first helps is also said at each combination of the second."""
_PLAIN = {"denoiser": "full", "executor": "serial", "precision": "float32"}
"""Levels that others are compared with where the clock is no run."""
_LEAST_WEIGHT = 1e-9


@dataclass(frozen=True)
class Effect:
    """How a change of levels multiplies a response, averaged over all factors that are not named."""

    dataset: str
    network: str
    """Empty where the network is a factor."""
    response: str
    """`FID` or `TIME`, time per image in a batch."""
    term: Term
    """The factors that change; of several it is their interaction, the ratio of ratios."""
    changes: Levels
    """The new level of each."""
    references: Levels
    """The level that it takes the place of."""
    given: Levels
    """Levels of other factors at which it holds; empty for the average over all."""
    ratio: float
    low: float
    high: float
    """Ends of the 95 % interval; NaN where it has none."""
    p: float
    """Two-sided p-value of no change of FID; NaN for times."""
    aliases: tuple[Term, ...]
    """Interactions that the runs cannot tell from it: the ratio holds these too."""


@dataclass(frozen=True)
class DesignRuns:
    """The ranked runs of one design in a class."""

    dataset: str
    network: str
    rows: DataFrame
    design: Design
    figures: TrainingFigures
    """FIDs of the rows by training."""

    @cached_property
    def log_times(self) -> npt.NDArray[np.float64]:
        """Return log time per image and half its 95 % interval [2, runs], NaN where it was not measured."""
        low, middle, high = (
            np.log(self.rows[f"relative_time{end}"].to_numpy(dtype=np.float64)) for end in ("_low", "", "_high")
        )
        return np.stack([middle, np.nan_to_num((high - low) / 2)])


def find_designs(analysis: Analysis) -> list[DesignRuns]:
    """Return the designs of all classes, each with its ranked runs; none where no suite has one."""
    found = []
    for one in analysis.classes:
        runs = one.rows[(one.rows["factors_json"] != "") & (one.rows["fid"] > 0)]
        levels = [json.loads(text) for text in runs["factors_json"]]
        names = ["" if "network" in run else name for run, name in zip(levels, runs["network"], strict=True)]
        for (dataset, network), rows in runs.assign(_network=names).groupby(["dataset", "_network"]):
            design = Design([json.loads(text) for text in rows["factors_json"]], _references(one))
            if design.levels:
                figures = training_figures(analysis.members, analysis.member_replicates["fid"], "fid")
                found.append(DesignRuns(str(dataset), str(network), rows, design, figures))
    return found


def find_effects(designs: list[DesignRuns]) -> list[Effect]:
    """Return the effects of each design: main effects, interactions, and accelerations at given levels."""
    return [effect for runs in designs for effect in (*_averaged(runs), *_conditional(runs))]


def _references(one: ResourceClass) -> Mapping[str, str]:
    """Return the levels that others are compared with: the clock's, or plain ones where it is no run."""
    text = "" if one.clock is None else one.clock["factors_json"]
    return json.loads(text) if text else _PLAIN


def _averaged(runs: DesignRuns) -> Iterator[Effect]:
    """Yield the effect of each change of each fitted term, averaged over the other factors."""
    for term in runs.design.terms[1:]:
        if len(term) > _MOST_FACTORS:
            continue
        for levels in itertools.product(*(runs.design.levels[factor][1:] for factor in term)):
            yield from _effects(runs, dict(zip(term, levels, strict=True)), {})


def _conditional(runs: DesignRuns) -> Iterator[Effect]:
    """Yield the effect of each acceleration at each combination of solver and steps, as far as these are factors."""
    design = runs.design
    conditions = [factor for factor in design.levels if factor in _CONDITIONS]
    for factor in _ACCELERATE:
        if factor not in design.levels or not conditions:
            continue
        for level in design.levels[factor][1:]:
            for given in itertools.product(*(design.levels[one] for one in conditions)):
                yield from _effects(runs, {factor: level}, dict(zip(conditions, given, strict=True)))


def _effects(runs: DesignRuns, changes: Levels, given: Levels) -> Iterator[Effect]:
    """Yield the effect on FID and, where all runs were timed, on time."""
    design = runs.design
    weights = design.weights(changes, given)
    term = tuple(changes)
    references = {factor: design.levels[factor][0] for factor in term}
    every = tuple(factor for factor in design.levels if factor in {*changes, *given})
    mixed = dict.fromkeys(alias for one in _inner_terms(term, every) for alias in design.aliases_of(one))
    aliases = tuple(alias for alias in mixed if len(alias) <= _MOST_FACTORS)

    for response, (value, half, p) in ((FID, _on_fid(runs, weights)), (TIME, _on_time(runs, weights))):
        if math.isnan(value):
            continue
        ends = (math.exp(value - half), math.exp(value + half)) if half == half else (math.nan, math.nan)
        yield Effect(
            runs.dataset, runs.network, response, term, changes, references, given, math.exp(value), *ends, p, aliases
        )


def _inner_terms(term: Term, every: Term) -> Iterator[Term]:
    """Yield the terms that an effect adds up: of its own factors, with any of those that are given."""
    for size in range(len(term), len(every) + 1):
        yield from (one for one in itertools.combinations(every, size) if set(term) <= set(one))


def _on_fid(runs: DesignRuns, weights: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the logarithm of a ratio of FIDs, half its interval, and p; the mean over trainings that all runs have."""
    # runs that count, in the trainings that all of them have
    counted = np.flatnonzero(np.abs(weights) > _LEAST_WEIGHT)
    members = [runs.figures.rows.get(str(runs.rows["trial_id"].iloc[place]), {}) for place in counted]
    common = sorted(set.intersection(*(set(one) for one in members)))
    if not common:
        return math.nan, math.nan, math.nan

    # the effect in each training, whole and without each group
    values = np.array([[math.log(one[training][0]) for one in members] for training in common])
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(np.array([[one[training][1] for one in members] for training in common]))
    effects, replicates = values @ weights[counted], np.einsum("krg,r->kg", logs, weights[counted])
    replicates = replicates[:, np.isfinite(replicates).all(axis=0)]

    parts = combined_parts(effects, replicates)
    value = float(effects.mean())
    return value, parts_half_width(parts), two_sided_p(value, parts)


def _on_time(runs: DesignRuns, weights: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the logarithm of a ratio of times and half its interval; NaN where a run that counts was not timed."""
    counted = np.abs(weights) > _LEAST_WEIGHT
    middle, half = runs.log_times[:, counted]
    return float(middle @ weights[counted]), float(np.linalg.norm(half * weights[counted])), math.nan
