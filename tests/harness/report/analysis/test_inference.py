"""Student's t over trainings, p-values and Holm: textbook values, and coverage by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from kit.trainings import leave_one_out
from scipy.stats import t as student

from harness.report.analysis.inference import (
    ErrorPart,
    common_variance,
    holm,
    jackknife_parts,
    parts_half_width,
    training_parts,
    two_sided_p,
)

GROUPS = 20


def simulated(rng: np.random.Generator, runs: int, trainings: int, training: float, common: float, own: float) -> tuple:
    """Return figures [runs, trainings] about 0 and their replicates [runs, trainings, groups].

    The arguments are the standard deviations of a figure from its training, and from noise of
    images that trainings share and do not share.
    """
    scale = math.sqrt(GROUPS)
    shared = rng.normal(0, common * scale, (runs, 1, GROUPS))
    groups = shared + rng.normal(0, own * scale, (runs, trainings, GROUPS))
    values, replicates = leave_one_out(groups)
    effect = rng.normal(0, training, (runs, trainings))
    return values + effect, replicates + effect[..., None]


def test_without_replicates_the_interval_is_the_textbooks_t_over_trainings() -> None:
    values = np.array([1.0, 2.0, 4.0])
    half = parts_half_width(training_parts(values, None))
    assert half == pytest.approx(4.302653 * values.std(ddof=1) / math.sqrt(3), rel=1e-6)


def test_the_p_value_is_the_level_at_which_the_interval_touches_zero() -> None:
    for parts in ([ErrorPart(0.7, 2)], [ErrorPart(0.7, 2), ErrorPart(0.4, 19)], [ErrorPart(0.7, 2), ErrorPart(0, 19)]):
        p = two_sided_p(-2.9, parts)
        assert parts_half_width(parts, 1 - p) == pytest.approx(2.9, rel=1e-6)
    assert two_sided_p(2.9, [ErrorPart(0.7, 2)]) == pytest.approx(2 * student.sf(2.9 / 0.7, 2))
    assert two_sided_p(0.0, [ErrorPart(0.0, 2)]) == 1
    assert two_sided_p(1e-9, [ErrorPart(0.0, 2)]) < 1e-10
    assert math.isnan(two_sided_p(1.0, []))


def test_the_common_variance_is_found_where_noise_is_shared_and_not_where_it_is_not() -> None:
    rng = np.random.default_rng(4)
    for common, own in ((0.5, 0.3), (0.0, 0.6)):
        _, replicates = simulated(rng, 400, 3, 0.0, common, own)
        found = np.mean([common_variance(one) for one in replicates])
        assert found == pytest.approx(common**2, abs=0.03)


@pytest.mark.parametrize(("training", "common", "own"), [(1.0, 0.0, 0.3), (0.3, 0.5, 0.5), (0.0, 1.0, 0.2)])
def test_intervals_over_three_trainings_cover(training: float, common: float, own: float) -> None:
    """At 95 %; where two errors are of one size they are a little too wide, never too narrow."""
    values, replicates = simulated(np.random.default_rng(5), 1000, 3, training, common, own)
    halves = [parts_half_width(training_parts(v, r)) for v, r in zip(values, replicates, strict=True)]
    assert 0.935 <= np.mean(np.abs(values.mean(axis=1)) <= halves) <= 0.995


def test_without_the_noise_that_trainings_share_they_would_not_cover() -> None:
    values, _ = simulated(np.random.default_rng(5), 1000, 3, 0.0, 1.0, 0.2)
    halves = [parts_half_width(training_parts(v, None)) for v in values]
    assert np.mean(np.abs(values.mean(axis=1)) <= halves) < 0.6


def test_the_jackknife_of_one_training_covers_what_the_images_would_show() -> None:
    values, replicates = simulated(np.random.default_rng(6), 1000, 1, 0.0, 0.4, 0.7)
    halves = [parts_half_width(jackknife_parts(one[0])) for one in replicates]
    assert 0.93 <= np.mean(np.abs(values[:, 0]) <= halves) <= 0.97


def test_holm_is_the_step_down_of_his_paper() -> None:
    # sorted 0.005, 0.01, 0.03, 0.04: factors 4, 3, 2, 1, never falling
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, math.nan, 0.7])[::2] == [1.0, 1.0]
    assert math.isnan(holm([0.6, math.nan])[1])
    assert holm([]) == []


def test_a_family_without_differences_shows_one_as_rarely_as_it_says() -> None:
    """Ten verdicts over three trainings: 5 % of families, where ten uncorrected ones would be 40 %."""
    values, _ = simulated(np.random.default_rng(7), 10_000, 3, 1.0, 0.0, 0.3)
    ps = np.array([two_sided_p(float(v.mean()), training_parts(v, None)) for v in values]).reshape(1000, 10)
    corrected = np.array([holm(family.tolist()) for family in ps])
    assert 0.03 <= (corrected.min(axis=1) <= 0.05).mean() <= 0.07
    assert (ps.min(axis=1) <= 0.05).mean() > 0.3


def test_holm_shows_differences_that_are_there_and_holds_its_rate_among_the_rest() -> None:
    values, replicates = simulated(np.random.default_rng(8), 2000, 1, 0.0, 0.0, 1.0)
    values[::2] += 6  # every other one is real
    ps = np.array(
        [two_sided_p(float(v[0]), jackknife_parts(r[0])) for v, r in zip(values, replicates, strict=True)]
    ).reshape(200, 10)
    shown = np.array([holm(family.tolist()) for family in ps]) <= 0.05
    assert shown[:, ::2].mean() > 0.95
    assert shown[:, 1::2].any(axis=1).mean() <= 0.09
