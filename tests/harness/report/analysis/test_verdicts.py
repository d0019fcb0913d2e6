"""Sentences about pairs of rows: each from numbers made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest

from harness.report.analysis.verdicts import Evidence, Outcome, control_outcome, control_sentence, finding_sentence

NAN = math.nan
LOWER = Evidence(-2.0, 0.5, 0.01, 12, 1.2, NAN, 3, "")
EVEN = Evidence(0.1, 0.2, 0.9, 12, 1.2, NAN, 3, "")
HIGHER = Evidence(2.0, 0.5, 0.01, 12, 1.2, NAN, 3, "")
TIMELY = {"time_high": 0.9}


@pytest.mark.parametrize(
    ("one", "changes", "sentence"),
    [
        # FID
        (LOWER, {}, "beats its control in FID"),
        (LOWER, {"trainings": 1}, "lower FID than its control, in one training"),
        (LOWER, TIMELY, "beats its control in FID and is faster"),
        (LOWER, {"margin": 3.0}, "beats its control in FID, by less than 3.00"),
        (LOWER, {"p_holm": 0.3}, "not shown to beat its control: lower FID by itself, not after Holm over 12"),
        (LOWER, {"p_holm": 0.3, **TIMELY},
         "not shown to beat its control: lower FID by itself, not after Holm over 12; faster"),
        (HIGHER, {}, "does not beat its control: higher FID"),
        (HIGHER, TIMELY, "does not beat its control: higher FID"),
        (HIGHER, {"margin": 3.0}, "does not beat its control: higher FID, by less than 3.00"),
        (HIGHER, {"p_holm": 0.3}, "not shown to beat its control: higher FID by itself, not after Holm over 12"),
        # no difference is not equal
        (EVEN, {}, "not shown to beat its control: no difference in FID shown"),
        (EVEN, {"margin": 0.29}, "not shown to beat its control: no difference in FID shown"),
        (EVEN, {"margin": 0.31}, "not shown to beat its control: FID equal within 0.310"),
        # time
        (EVEN, TIMELY, "not shown to beat its control: no difference in FID shown; faster, but equal FID is not shown"),
        (EVEN, {"margin": 0.31, **TIMELY}, "faster than its control, FID equal within 0.310"),
        (EVEN, {"margin": 0.31, "trainings": 1, **TIMELY},
         "faster than its control, FID equal within 0.310, in one training"),
        (HIGHER, {"margin": 3.0, **TIMELY}, "faster than its control, FID equal within 3.00"),
        (EVEN, {"difference": -0.4, "half": 0.5, "margin": 0.31, **TIMELY},
         "faster than its control, FID at most 0.310 higher"),
        (EVEN, {"time_high": NAN}, "not shown to beat its control: no difference in FID shown"),
        # nothing to claim
        (LOWER, {"returned": "the untuned network"}, "returned the untuned network; no claim"),
        (LOWER, {"half": NAN, "p_holm": NAN}, "no interval, no finding"),
        (LOWER, {"half": NAN, "p_holm": NAN, "trainings": 0}, "no training in common, no finding"),
    ],
)  # fmt: skip
def test_a_verdict_claims_what_is_shown_and_no_more(one: Evidence, changes: dict, sentence: str) -> None:
    assert control_sentence(replace(one, **changes)) == sentence


@pytest.mark.parametrize(
    ("one", "changes", "sentence"),
    [
        (LOWER, {"p_holm": 1.0}, "lower FID"),
        (HIGHER, {"trainings": 1}, "higher FID, in one training"),
        (HIGHER, {"margin": 3.0}, "higher FID, by less than 3.00"),
        (EVEN, {}, "no difference in FID shown"),
        (EVEN, {"margin": 0.31}, "FID equal within 0.310"),
        (EVEN, {"half": NAN}, "no interval, no finding"),
    ],
)
def test_a_finding_outside_a_family_is_by_itself(one: Evidence, changes: dict, sentence: str) -> None:
    assert finding_sentence(replace(one, **changes)) == sentence


BEGINNINGS = {
    Outcome.LOWER_FID: ("beats its control in FID", "lower FID than its control"),
    Outcome.FASTER: ("faster than its control",),
    Outcome.NOT_SHOWN: ("not shown to beat its control",),
    Outcome.HIGHER_FID: ("does not beat its control: higher FID",),
    Outcome.RETURNED: ("returned",),
    Outcome.NO_FINDING: ("no interval", "no training in common"),
}


def test_the_outcome_of_a_pair_is_what_its_sentence_says() -> None:
    found = set()
    for difference, p, high, margin, trainings, returned in product(
        (-2.0, -0.4, 0.1, 2.0), (0.01, 0.3, NAN), (0.9, 1.2, NAN), (NAN, 0.31, 3.0), (1, 3), ("", "the untuned network")
    ):
        half = NAN if math.isnan(p) else 0.5
        one = Evidence(difference, half, p, 12, high, margin, trainings, returned)
        outcome = control_outcome(one)
        found.add(outcome)
        assert control_sentence(one).startswith(BEGINNINGS[outcome])
    assert found == set(Outcome)
