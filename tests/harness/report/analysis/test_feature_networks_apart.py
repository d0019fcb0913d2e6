"""Rows of different feature networks, resizes, weights or references share no table and are never compared."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd
import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.comparisons import find_comparisons
from harness.report.analysis.derive import Analysis, derive
from harness.report.leaderboard import build_leaderboard

BEFORE = {
    "extractor": "dinov2:class-token bicubic-antialias-float-224",
    "reference": "cifar10 statistics 00 (authors)",
    "control_of_trial_id": tables.trial_id("ddim", 5),
}
CHANGES = [
    {"extractor": "inception-v3-compat:2048 tf1-bilinear-299"},
    {"extractor": "dinov2:class-token another-resize-224"},
    {"extractor_sha256": "another file of weights"},
    {"reference": "cifar10 statistics 01 (authors)"},
    {"reference": "cifar10 statistics 00 (others)"},
    {"reference_n": None},
]


def both(**changes: Any) -> Analysis:
    """Return the analysis of rows, and of the same ones with other ids and these columns."""
    one = tables.trials().assign(**BEFORE)
    other = one.assign(**changes)
    other["trial_id"] = [hashlib.sha256(name.encode()).hexdigest() for name in one["trial_id"]]
    both = pd.concat([one, other], ignore_index=True)
    return derive({"trials": both, "quality": tables.quality(both), "steps": tables.steps(both)})


def kinds(rows: DataFrame) -> set[tuple[str, ...]]:
    return set(rows[["extractor", "extractor_sha256", "reference", "reference_n"]].astype(str).agg(tuple, axis=1))


@pytest.mark.parametrize("changes", CHANGES, ids=[f"{key}-{value}" for one in CHANGES for key, value in one.items()])
def test_no_class_and_no_table_holds_both(changes: dict[str, Any]) -> None:
    analysis = both(**changes)
    assert len(kinds(analysis.trials)) == 2
    assert len({tuple(kinds(one.rows)) for one in analysis.classes}) == 2
    assert all(len(kinds(one.rows)) == 1 for one in analysis.classes)
    assert all(len(kinds(one.source)) == 1 for one in build_leaderboard(analysis).classes)


@pytest.mark.parametrize("changes", CHANGES, ids=[f"{key}-{value}" for one in CHANGES for key, value in one.items()])
def test_no_pair_is_of_both(changes: dict[str, Any]) -> None:
    found = find_comparisons(both(**changes))
    assert found
    for one in found:
        assert len(kinds(DataFrame([one.row, one.other]))) == 1


@pytest.mark.parametrize("changes", CHANGES[:3], ids=[next(iter(one.values())) for one in CHANGES[:3]])
def test_seed_sets_of_both_are_not_averaged(changes: dict[str, Any]) -> None:
    names = {one.key["extractor"] for one in both(**changes, seed_set=1).classes}
    assert names == {BEFORE["extractor"], changes.get("extractor", BEFORE["extractor"])}
    assert (both(**changes, seed_set=1).members["seed_sets"] != "0, 1").all()
