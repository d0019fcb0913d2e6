"""Rows over trainings, their comparisons and the tables that state them; numbers made by hand."""

from __future__ import annotations

import csv
import io
import math

import pandas as pd
import pytest
from kit import tables
from kit.trainings import over_trainings

from harness.report.analysis.comparison_tables import comparisons_csv, controls_table
from harness.report.analysis.comparisons import CONTROL, WHOLE, Comparison, find_comparisons
from harness.report.analysis.derive import Analysis, derive

T2 = 4.302653  # Student's t, 2 degrees of freedom, 97.5 %
FIDS = {"full": [5.0, 5.4, 5.2], "exit": [4.0, 4.42, 4.2], "blind": [9.0, 9.5, 9.2]}
CLAIM = {"blind": {"control_of": "exit"}}


def analysed(fids: dict[str, list[float]] = FIDS, **changes: dict[str, object]) -> Analysis:
    return derive(over_trainings(fids, None, **{**CLAIM, **changes}))


def control_pair(analysis: Analysis) -> Comparison:
    (found,) = (pair for pair in find_comparisons(analysis) if pair.kind == CONTROL)
    return found


def test_trainings_of_a_configuration_become_one_row_with_their_mean_and_students_interval() -> None:
    analysis = analysed()
    rows = analysis.classes[0].rows.set_index("method")
    assert len(rows) == 3
    assert rows.loc["full", "trainings"] == 3
    assert rows.loc["full", "fid_by_training"] == "5, 5.4, 5.2"
    assert rows.loc["full", "fid"] == pytest.approx(5.2)
    # sd 0.2; replicates swing by 0.001 in all trainings alike, which adds sqrt(19) * 0.001 * t(19) in squares
    half = math.hypot(T2 * 0.2 / math.sqrt(3), 2.093 * math.sqrt(19) * 0.001)
    assert rows.loc["full", "fid_high"] - 5.2 == pytest.approx(half, rel=1e-4)
    assert rows.loc["full", "trial_id"] == tables.trial_id("full", 20, 0)


def test_members_keep_their_training_weights_and_the_row_they_belong_to() -> None:
    members = analysed().members
    own = members[members["row_id"] == tables.trial_id("exit", 20, 0)]
    assert list(own["training"]) == [0, 1, 2]
    assert list(own["weights"]) == ["zoo:net-seed0", "zoo:net-seed1", "zoo:net-seed2"]
    assert list(own["fid"]) == FIDS["exit"]


def test_a_networks_limit_is_the_mean_of_its_trainings_with_students_interval() -> None:
    source = over_trainings(FIDS, None, **CLAIM)
    source["trials"]["network_limit_fid"] = source["trials"]["training"].map({0: 1.0, 1: 1.2, 2: 1.1})
    row = derive(source).classes[0].rows.iloc[0]
    assert row["network_limit_fid"] == pytest.approx(1.1)
    assert row["network_limit_fid_low"] == pytest.approx(1.1 - T2 * 0.1 / math.sqrt(3))


def test_times_that_were_taken_per_training_widen_the_interval_and_shared_ones_do_not() -> None:
    source = over_trainings(FIDS, None, **CLAIM)
    shared = derive(source).classes[0].rows.set_index("method").loc["exit"]
    assert shared["speedup_low"] == pytest.approx(source["trials"]["speedup_low"].iloc[3])
    own = source["trials"]["method"] == "exit"
    source["trials"].loc[own, "speedup"] = [0.99, 1.0, 1.01]
    spread = derive(source).classes[0].rows.set_index("method").loc["exit"]
    assert spread["speedup_low"] < 0.98 < shared["speedup_low"]


def test_differences_are_taken_within_a_training_before_they_are_averaged() -> None:
    """The whole network's FIDs lie 0.4 apart over trainings, the differences to it 0.02."""
    (pair,) = (
        p
        for p in find_comparisons(analysed(full={"denoiser": "full"}))
        if p.kind == WHOLE and p.row["method"] == "exit"
    )
    assert list(pair.fid.by_training.values()) == pytest.approx([-1.0, -0.98, -1.0])
    assert pair.difference == pytest.approx(-0.993333)
    assert pair.difference_half == pytest.approx(T2 * 0.0115470 / math.sqrt(3), rel=1e-4)
    assert pair.finding == "lower FID"


def test_beats_is_said_over_trainings_only() -> None:
    assert control_pair(analysed()).verdict == "beats its control in FID"
    one = {method: values[:1] for method, values in FIDS.items()}
    assert control_pair(analysed(one)).verdict == "lower FID than its control, in one training"


def test_trainings_that_only_one_of_the_two_has_are_left_out() -> None:
    analysis = analysed({**FIDS, "blind": [9.0, 9.5]})
    pair = control_pair(analysis)
    assert list(pair.fid.by_training.values()) == pytest.approx([-5.0, -5.08])
    assert pair.trainings == 2
    source = over_trainings(FIDS, None, **CLAIM)
    keep = ~((source["trials"]["method"] == "blind") & (source["trials"]["training"] > 0))
    source["trials"] = source["trials"][keep]
    assert control_pair(derive(source)).verdict == "lower FID than its control, in one training"


def test_an_invalid_first_training_does_not_hide_the_whole_network() -> None:
    source = over_trainings(FIDS, None, full={"denoiser": "full"}, **CLAIM)
    first = (source["trials"]["method"] == "full") & (source["trials"]["training"] == 0)
    source["trials"].loc[first, "verdict"] = "INVALID"
    pairs = [p for p in find_comparisons(derive(source)) if p.kind == WHOLE]
    assert {p.row["method"]: p.trainings for p in pairs} == {"exit": 2, "blind": 2}


def test_tables_without_the_new_columns_are_of_one_training() -> None:
    source = over_trainings({method: values[:1] for method, values in FIDS.items()}, None, **CLAIM)
    new = ["training", "prepared", "network_limit_fid", "equivalence_margin", "timed_trial_id"]
    source["trials"] = source["trials"].drop(columns=[name for name in new if name in source["trials"]])
    pair = control_pair(derive(source))
    assert (pair.trainings, pair.verdict) == (1, "lower FID than its control, in one training")


def test_the_family_is_stated_above_the_table_and_every_p_in_the_csv() -> None:
    second = {"exit": [9.1, 9.6, 9.3]}
    source = over_trainings({**FIDS, **second, "other": [4.0, 4.4, 4.2]}, None, **CLAIM, other={"control_of": "exit"})
    pairs = find_comparisons(derive(source))
    section = controls_table(pairs)
    assert section.notes[0].startswith("Suite quick: the 2 control verdicts with an interval are one family.")
    assert "at most 5%" in section.notes[0]
    assert any("states no margin" in note for note in section.notes)
    written = [row for row in csv.DictReader(io.StringIO(comparisons_csv(pairs))) if row["kind"] == CONTROL]
    ps = sorted((float(row["p"]), float(row["p_holm"])) for row in written)
    assert ps[0][1] == pytest.approx(2 * ps[0][0])
    assert ps[1][1] == pytest.approx(max(ps[1][0], ps[0][1]))
    assert {row["family"] for row in written} == {"2"}
    assert {row["trainings"] for row in written} == {"3"}
    assert [float(one) for one in written[0]["fid_difference_by_training"].split()] == pytest.approx(
        [5.1, 5.2, 5.1] if written[0]["other_method"] == "other" else [0.1, 0.1, 0.1]
    )


def test_the_margin_is_read_from_the_rows_and_stated() -> None:
    fids = {**FIDS, "blind": [4.01, 4.42, 4.21]}
    pairs = find_comparisons(analysed(fids, exit={"equivalence_margin": 0.25}))
    (pair,) = (p for p in pairs if p.kind == CONTROL)
    assert pair.verdict == "not shown to beat its control: FID equal within 0.250"
    assert any("M = 0.250" in note for note in controls_table(pairs).notes)


@pytest.mark.parametrize(
    ("flops", "text"),
    [
        (0.5, "1.0"),
        (0.8, "2.5"),
        (0.93, "– (7.0% of the arithmetic saved, less than 20%)"),
        (1.0, "– (no arithmetic saved)"),
    ],
)
def test_yield_is_empty_with_its_reason_below_a_fifth_saved(flops: float, text: str) -> None:
    from harness.report.analysis.comparison_tables import whole_network_table

    source = over_trainings({"full": [5.0], "exit": [5.0]}, None, full={"denoiser": "full"})
    exits = source["trials"]["method"] == "exit"
    source["trials"].loc[exits, ["speedup", "speedup_low", "speedup_high"]] = 2.0
    source["trials"].loc[exits, "flops_per_image"] *= flops
    section = whole_network_table(find_comparisons(derive(source)))
    assert section.rows[0][section.headings.index("FLOPs-to-time yield")] == text


def test_the_order_of_rows_changes_no_probability() -> None:
    first, second = (derive(tables.shuffled(over_trainings(FIDS, None, **CLAIM), seed)) for seed in (1, 2))
    pd.testing.assert_frame_equal(first.classes[0].rows, second.classes[0].rows)
    pd.testing.assert_frame_equal(first.members, second.members)
