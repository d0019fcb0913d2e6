"""Published figures and what was measured of them here: the table, and the mark of a method whose figure came out."""

from __future__ import annotations

from collections.abc import Iterable

from pandas import DataFrame, Series

from harness.report.facts import ClaimFacts, describe_conditions
from harness.report.formats import DASH, Section, format_number

_NOTE = (
    "The published figure is compared with the interval in which it is expected: that of the measured FID, widened by "
    "the rounding of the figure and, unless it is exact, by the error of a published run of as many images, or of the "
    "smallest of three. Where a condition is not met there is no verdict."
)


def reproduced_notes(trials: DataFrame, claims: Iterable[ClaimFacts]) -> Series:
    """Return the note of each row [rows] whose method has a reproduced figure under the row's conditions, else ""."""
    reproduced = [claim for claim in claims if claim.mark]
    if not reproduced:
        return Series("", index=trials.index, dtype=object)
    notes = []
    for _, row in trials.iterrows():
        own = describe_conditions(row)
        notes.append("; ".join(claim.mark for claim in reproduced if claim.conditions == own))
    return Series(notes, index=trials.index, dtype=object)


def claims_table(claims: Iterable[ClaimFacts], suite: str) -> Section:
    """Return the claims that a suite measured: claimed, measured here, conditions."""
    rows = []
    for claim in claims:
        if claim.suite == suite:
            measured = _interval(claim.fid, claim.fid_low, claim.fid_high)
            expected = _interval(None, claim.expected_low, claim.expected_high)
            of = f"{claim.title} ({claim.source})"
            rows.append((claim.name, of, claim.figure, measured, expected, claim.verdict, _conditions(claim)))
    headings = ("Claim", "Of", "Claimed FID", "Measured here", "Expected within", "Verdict", "Conditions")
    return Section(headings, rows, (_NOTE,))


def _conditions(claim: ClaimFacts) -> str:
    met = f"NFE {claim.nfe}, N {claim.n_images:,}, {claim.protocol}"
    return f"{met}; not met: {'; '.join(claim.unmet)}" if claim.unmet else f"{met}; all met"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    inner = DASH if low is None or high is None else f"[{format_number(low, 4)}, {format_number(high, 4)}]"
    return inner if value is None else f"{format_number(value, 4)} {inner}"
