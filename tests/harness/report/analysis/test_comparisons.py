"""Pairs of rows: what a method saves and costs against the whole network, and whether it beats its controls."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.comparison_tables import comparisons_csv, controls_table, whole_network_table
from harness.report.analysis.comparisons import _TUNED_AS_LONG, WHOLE, WHOLE_TUNED, Comparison, find_comparisons
from harness.report.analysis.derive import derive
from methods.tuning.tune import TuningParams

FULL, EXIT, CONTROL = "ddim", "early-exit/ddim", "early-exit(tune_steps=0)/ddim"


def made(fid: dict[str, float], time: dict[str, float], wobble: dict[str, float], **changes: Any) -> list[Comparison]:
    """Return the pairs of a run of three rows; `wobble` is how far each row's replicates swing about its FID."""
    parts = {FULL: {"is_baseline": True}, EXIT: {"denoiser": "early-exit"}, CONTROL: {"denoiser": "early-exit"}}
    parts[CONTROL]["control_of_trial_id"] = tables.trial_id(EXIT, 20)
    rows = [
        tables.row(name, 20, fid[name], time[name], **parts[name], flops_per_image=1e9 * time[name], **changes)
        for name in parts
    ]
    replicates = [
        {"trial_id": row["trial_id"], "attempt": 1, "group": k, "fid": row["fid"] + wobble[row["method"]] * (-1) ** k}
        for row in rows
        for k in range(20)
    ]
    found = {"trials": DataFrame(rows), "quality": DataFrame(replicates)}
    return find_comparisons(derive(found))


def pair(kind: str, **changes: Any) -> Comparison:
    fid = {FULL: 5.0, EXIT: 5.5, CONTROL: 9.0, **changes.get("fid", {})}
    time = {FULL: 1.0, EXIT: 0.75, CONTROL: 0.75, **changes.get("time", {})}
    wobble = {FULL: 0.01, EXIT: 0.01, CONTROL: 0.01, **changes.get("wobble", {})}
    (found,) = (p for p in made(fid, time, wobble) if p.kind == kind and p.row["method"] == EXIT)
    return found


def test_a_row_is_compared_with_the_whole_network_at_equal_steps() -> None:
    found = pair("the whole network")
    assert found.other["method"] == FULL
    assert found.difference == pytest.approx(0.5)
    assert found.difference_half == pytest.approx(0, abs=1e-12)  # replicates swing together: all of it is paired away
    assert found.time == pytest.approx(0.75)
    assert found.time_low < 0.75 < found.time_high
    assert found.flops == pytest.approx(0.75)
    assert found.flops_yield == pytest.approx(1.0)
    assert found.finding == "higher FID, in one training"


def test_unpaired_swings_widen_the_interval_until_nothing_is_shown() -> None:
    found = pair("the whole network", wobble={EXIT: -0.4})
    swings = 0.41  # of the difference, about its mean
    deviation = math.sqrt(19 / 20 * 20 * swings**2)
    assert found.difference_half == pytest.approx(2.093 * deviation, rel=1e-3)  # Student's t, 19 degrees of freedom
    assert found.finding == "no difference in FID shown, in one training"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "lower FID than its control, in one training"),
        ({"fid": {CONTROL: 3.0}}, "does not beat its control: higher FID, in one training"),
        ({"wobble": {CONTROL: -3.0}}, "not shown to beat its control: no difference in FID shown, in one training"),
        (
            {"wobble": {CONTROL: -3.0}, "time": {CONTROL: 1.0}},
            "not shown to beat its control: no difference in FID shown; faster, but equal FID is not shown, "
            "in one training",
        ),
    ],
)
def test_a_control_is_beaten_only_by_what_is_measured(changes: dict[str, Any], verdict: str) -> None:
    found = pair("control", **changes)
    assert found.other["method"] == CONTROL
    assert found.verdict == verdict
    assert any(verdict in row for row in controls_table([found]).rows)


def test_what_was_returned_in_place_of_a_tuned_network_claims_nothing() -> None:
    """Whatever the figures say: a faster machine for a moment, or other images."""
    found = made(
        {FULL: 5.0, EXIT: 2.0, CONTROL: 9.0},
        {FULL: 1.0, EXIT: 0.5, CONTROL: 0.75},
        {FULL: 0.0, EXIT: 0.0, CONTROL: 0.0},
        returned="the untuned network",
    )
    (pair_,) = (p for p in found if p.kind == "control")
    assert pair_.finding == "lower FID, in one training"
    assert pair_.verdict == "returned the untuned network; no claim"
    assert any(pair_.verdict in row for row in controls_table(found).rows)


def test_the_control_itself_is_compared_with_the_whole_network_only() -> None:
    fid, time = {FULL: 5.0, EXIT: 5.5, CONTROL: 9.0}, {FULL: 1.0, EXIT: 0.75, CONTROL: 0.75}
    pairs = made(fid, time, dict.fromkeys(fid, 0.01))
    kinds = sorted((p.row["method"], p.kind) for p in pairs)
    assert kinds == [(CONTROL, "the whole network"), (EXIT, "control"), (EXIT, "the whole network")]
    assert len(whole_network_table(pairs).rows) == 2


def test_the_csv_holds_the_numbers_in_full() -> None:
    found = pair("control")
    (row,) = csv.DictReader(io.StringIO(comparisons_csv([found])))
    assert float(row["fid_difference"]) == pytest.approx(-3.5)
    assert float(row["time_ratio"]) == found.time
    assert row["flops_to_time_yield"] == ""  # the control costs as much
    assert row["finding"] == "lower FID than its control, in one training"


def test_without_replicates_there_is_no_finding() -> None:
    rows = [tables.row(FULL, 20, 5.0, 1.0), tables.row(EXIT, 20, 5.5, 0.75, denoiser="early-exit")]
    (found,) = find_comparisons(derive({"trials": DataFrame(rows)}))
    assert found.finding == "no interval, no finding"


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.05034, "0.0503"),
        (0.05004, "0.05004"),
        (0.0500000001, "0.0500000001"),
        (0.05, "0.0500"),
        (0.04996, "0.0500"),
        (0.4849, "0.485"),
        (1.0, "1.00"),
        (0.0009, "< 0.001"),
        (math.nan, "–"),
    ],
)
def test_a_printed_p_never_contradicts_the_rule(p: float, text: str) -> None:
    table = controls_table([replace(pair("control"), p_holm=p)])
    assert table.rows[0][table.headings.index("p, Holm's")] == text


def test_a_control_on_another_network_is_named_with_it_and_parameters_are_compared() -> None:
    claim = tables.row("ddim", 20, 5.0, 1.0, network="cunet", parameters=100.0)
    claim["trial_id"] = tables.trial_id("claim")
    control = tables.row("ddim", 20, 6.0, 1.0, parameters=400.0, control_of_trial_id=claim["trial_id"])
    pairs = find_comparisons(derive({"trials": DataFrame([claim, control])}))
    (row,) = controls_table(pairs).rows
    assert row[0] == "cunet:ddim-20"
    assert row[1] == "unet-small:ddim-20"
    assert row[controls_table(pairs).headings.index("Parameters ratio")] == "0.250"


SHORT = {"tune_steps": 200, "tune_batch": 64, "tune_lr": 2e-3}
LONGER = {**SHORT, "tune_steps": 400}


def tuned_pairs(claim: dict[str, Any], control: dict[str, Any], share: float = 1.0, **changes: Any) -> list[Comparison]:
    """Return the pairs of a claim and another one, both with the same control, beside the whole network."""

    def params(denoiser: dict[str, Any]) -> str:
        return json.dumps({"denoiser": denoiser})

    claims = [
        {**tables.row(name, 20, 5.5, 0.75, denoiser=name, params_json=params(claim)), "trial_id": tables.trial_id(name)}
        for name in ("early-exit", "adadiff")
    ]
    facts = {"denoiser": "early-exit", "params_json": params({**control, "schedule": "full"}), **changes}
    served = " ".join(one["trial_id"] for one in claims)
    rows = [
        tables.row(FULL, 20, 5.0, 1.0),
        *claims,
        tables.row(CONTROL, 20, 4.5, 1.0, control_of_trial_id=served, **facts),
    ]
    steps = tables.steps(DataFrame(rows))
    steps.loc[steps["trial_id"] == rows[-1]["trial_id"], "network_share"] = share
    return find_comparisons(derive({"trials": DataFrame(rows), "steps": steps}))


def test_one_control_serves_several_claims_and_stands_beside_the_whole_network() -> None:
    pairs = tuned_pairs(SHORT, SHORT)
    for claim in ("early-exit", "adadiff"):
        mine = [(p.kind, p.other["method"]) for p in pairs if p.row["method"] == claim]
        assert mine == [(WHOLE, FULL), (WHOLE_TUNED, CONTROL), ("control", CONTROL)]
        shown = [row for row in whole_network_table(pairs).rows if row[0] == f"unet-small:{claim}-20"]
        assert [row[1] for row in shown] == ["as trained", f"tuned as long: unet-small:{CONTROL}-20"]
        assert [float(row[4]) for row in shown] == [0.5, 1.0]
    assert len(controls_table(pairs).rows) == 2
    written = list(csv.DictReader(io.StringIO(comparisons_csv(pairs))))
    assert [row["kind"] for row in written].count(WHOLE_TUNED) == 2
    assert {row["finding"] for row in written if row["kind"] == WHOLE_TUNED} == {"no interval, no finding"}


@pytest.mark.parametrize(
    ("claim", "control", "changes"),
    [
        (SHORT, LONGER, {}),
        (SHORT, {**SHORT, "tune_lr": 1e-3}, {}),
        (SHORT, {**SHORT, "tune_batch": 32}, {}),
        ({**SHORT, "tune_steps": 0}, {**SHORT, "tune_steps": 0}, {}),
        (SHORT, {}, {}),
        ({}, {}, {}),
        (SHORT, SHORT, {"share": 0.9}),
        (SHORT, SHORT, {"share": 1.1}),
        (SHORT, SHORT, {"solver": "heun"}),
        (SHORT, SHORT, {"weights_sha256": "ab"}),
    ],
)
def test_what_is_not_whole_or_not_tuned_as_long_is_a_control_and_no_more(
    claim: dict[str, Any], control: dict[str, Any], changes: dict[str, Any]
) -> None:
    kinds = [pair.kind for pair in tuned_pairs(claim, control, **changes)]
    assert WHOLE_TUNED not in kinds
    assert kinds.count("control") == 2


def test_tuning_is_compared_by_the_parameters_that_tuned_methods_have() -> None:
    assert set(_TUNED_AS_LONG) <= set(TuningParams.model_fields)


def test_networks_are_named_where_there_are_several() -> None:
    def rows(network: str) -> list[dict[str, Any]]:
        made = [
            tables.row(FULL, 20, 5.0, 1.0, network=network),
            tables.row(EXIT, 20, 5.5, 0.75, network=network, denoiser="early-exit"),
        ]
        return [{**one, "trial_id": tables.trial_id(one["method"], network)} for one in made]

    one, two = (
        whole_network_table(find_comparisons(derive({"trials": DataFrame(r)})))
        for r in (rows("a"), rows("a") + rows("b"))
    )
    assert [row[0] for row in one.rows] == [f"a:{EXIT}-20"]
    assert sorted(row[0] for row in two.rows) == [f"a:{EXIT}-20", f"b:{EXIT}-20"]
