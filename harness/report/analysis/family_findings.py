"""What was found of each family of methods: its rows, their controls, and the whole network at equal steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pandas import DataFrame

from harness.report.analysis.comparisons import CONTROL, WHOLE, Comparison
from harness.report.analysis.derive import Analysis, ResourceClass


@dataclass(frozen=True)
class FamilyFindings:
    """One family in one resource class."""

    family: str
    rows: DataFrame
    """Its ranked rows, controls among them."""
    controls: tuple[Comparison, ...]
    """Its rows, each beside a control of it."""
    whole: tuple[Comparison, ...]
    """Its rows, each beside the whole network as it was trained.

    Without rows that are controls alone, and without those whose preparation returned something else.
    """
    against_serial: DataFrame
    """Its rows whose speed was measured against the serial run of the same steps."""


def find_by_family(one: ResourceClass, analysis: Analysis, pairs: Sequence[Comparison]) -> list[FamilyFindings]:
    """Return the findings of each family that has ranked rows in the class, in the order of all families.

    `pairs` are those of the analysis.
    """
    here = set(one.rows["trial_id"])
    own = [pair for pair in pairs if pair.row["trial_id"] in here]
    claims = {pair.row["trial_id"] for pair in own if pair.kind == CONTROL}
    of_others = {row["trial_id"] for _, row in one.rows.iterrows() if row["control_of_trial_id"]}
    returned = {row["trial_id"] for _, row in one.rows.iterrows() if row["returned"]}
    apart = (of_others - claims) | returned

    found = []
    for family in analysis.families:
        rows = one.rows[one.rows["family"] == family]
        if rows.empty:
            continue

        members = [pair for pair in own if pair.row["family"] == family]
        found.append(
            FamilyFindings(
                family=family,
                rows=rows,
                controls=tuple(pair for pair in members if pair.kind == CONTROL),
                whole=tuple(pair for pair in members if pair.kind == WHOLE and pair.row["trial_id"] not in apart),
                against_serial=rows.dropna(subset=["speedup_over_serial"]),
            )
        )
    return found
