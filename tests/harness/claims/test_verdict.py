"""The verdict on a claim: rounding and protocol widen the interval by what order statistics say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from harness.claims.ledger import Claim
from harness.claims.verdict import NO_VERDICT, NOT_REPRODUCED, REPRODUCED, judge_claim

SUITE = {"dataset": "gaussian", "network": "analytic", "extractor": "pixels", "n_images": 2000, "steps": 4}


def claim(figure: float, protocol: str = "exact", decimals: int = 2) -> Claim:
    tables: dict[str, Any] = {"name": "a", "title": "A", "figure": figure, "decimals": decimals, "protocol": protocol}
    return Claim.model_validate({**tables, "nfe": 4, "source": "a test", "suite": SUITE})


def test_the_rounding_of_the_figure_widens_the_interval() -> None:
    assert judge_claim(claim(2.00), 1.95, 1.905, 1.995).verdict == REPRODUCED
    assert judge_claim(claim(2.01), 1.95, 1.905, 1.995).verdict == NOT_REPRODUCED
    assert judge_claim(claim(2.0, decimals=1), 1.95, 1.94, 1.96).verdict == REPRODUCED


def test_a_figure_that_is_lower_than_expected_is_not_reproduced_either() -> None:
    assert judge_claim(claim(1.80), 1.95, 1.905, 1.995).verdict == NOT_REPRODUCED


@pytest.mark.parametrize(("protocol", "runs"), [("one-run", 1), ("minimum-of-three", 3)])
def test_a_true_claim_is_reproduced_95_times_of_100(protocol: str, runs: int) -> None:
    generator, error, trials = np.random.default_rng(7), 0.05, 4000
    published = 2.0 + error * generator.standard_normal((trials, runs)).min(axis=1)
    measured = 2.0 + error * generator.standard_normal(trials)
    half = 1.959964 * error
    found = [
        judge_claim(claim(float(p), protocol, 6), m, m - half, m + half).verdict == REPRODUCED
        for p, m in zip(published, measured, strict=True)
    ]
    assert 0.935 < np.mean(found) < 0.965


def test_the_smallest_of_three_lies_below_one_run() -> None:
    one, three = (judge_claim(claim(2.0, name), 2.0, 1.9, 2.1) for name in ("one-run", "minimum-of-three"))
    error = 0.1 / 1.959964
    assert (three.low + three.high) / 2 == pytest.approx(2.0 - 0.8463 * error, abs=1e-4)
    assert (three.high - three.low) < (one.high - one.low)


def test_without_an_interval_there_is_no_verdict() -> None:
    assert judge_claim(claim(2.0), 2.0, math.nan, math.nan).verdict == NO_VERDICT
    assert judge_claim(claim(2.0), 2.0, 2.0, 2.0).verdict == NO_VERDICT
