"""A section per family: only those with rows, with what was claimed, found and drawn of it."""

from __future__ import annotations

import pandas as pd
import pytest
from kit import tables, trainings
from pandas import DataFrame

from harness.report.analysis.comparisons import find_comparisons
from harness.report.analysis.derive import derive
from harness.report.facts import MethodFacts
from harness.report.leaderboard import build_leaderboard
from harness.report.web.families import FamilySection, make_families

FACTS = (
    MethodFacts("denoiser", "cut", "early exit", "cuts blocks", "The paper reports 30 % less time.", "m"),
    MethodFacts("denoiser", "other", "AdaDiff", "unused", "Unused claim.", "m"),
    MethodFacts("solver", "ddim", "solver", "Euler", "", "m"),
)


def sections(found: dict[str, DataFrame], plots: dict[str, bytes] | None = None) -> dict[str, FamilySection]:
    analysis = derive(found, FACTS)
    pairs = find_comparisons(analysis)
    made = make_families(analysis, build_leaderboard(analysis, pairs), pairs, plots or {})
    return {one.family: one for one in made}


def early_exit(fid: float = 3.0) -> dict[str, DataFrame]:
    """Return a method with a control and a baseline, in two trainings."""
    return trainings.over_trainings(
        {"ddim": [2.0, 2.001], "cut": [fid, fid + 0.001], "same": [2.0, 2.001]},
        ddim={"denoiser": "full", "is_baseline": True},
        same={"denoiser": "cut", "params_json": '{"denoiser":{"k":1}}', "control_of": "cut"},
    )


def test_only_families_with_rows_have_a_section_in_the_order_of_colors() -> None:
    found = sections(early_exit())
    assert list(found) == ["solver", "early exit"]
    assert sections({}) == {}


def test_a_section_has_claim_measurement_and_verdict() -> None:
    one = sections(early_exit())["early exit"]
    assert one.claims == ("The paper reports 30 % less time.",)
    assert [method.name for method in one.methods] == ["cut"]
    assert one.measured[0] == "2 rows on unet-small, at 20 steps, FID 2.00 to 3.00."
    assert any(text.startswith("Beside the whole network at equal steps") for text in one.measured)
    (pair,) = one.controls
    assert pair.name == "unet-small:cut-20"
    assert pair.other == "unet-small:same-20"
    assert pair.fid.startswith("+1.00 [")
    assert pair.finding == "does not beat its control: higher FID"


def test_what_was_measured_is_said_of_each_class_by_itself() -> None:
    found = early_exit()
    other = found["trials"].assign(device_name="Another CPU")
    other["trial_id"] = ["f" + one[1:] for one in other["trial_id"]]
    other["fid"] += 5.0
    other.loc[:, "control_of_trial_id"] = ""
    found["trials"] = pd.concat([found["trials"], other], ignore_index=True)
    one = sections(found)["early exit"]
    extents = [text for text in one.measured if "rows on" in text]
    assert sorted(extents) == [
        "digits on Another CPU, tier quick: 2 rows on unet-small, at 20 steps, FID 7.00 to 8.00.",
        "digits on Example CPU (1 thread), tier quick: 2 rows on unet-small, at 20 steps, FID 2.00 to 3.00.",
    ]
    assert len(one.controls) == 1
    assert "The suite names no control for these rows." not in one.measured


def test_a_family_without_controls_says_so() -> None:
    one = sections(early_exit())["solver"]
    assert one.controls == ()
    assert one.measured[-1] == "The suite names no control for these rows."


def test_a_speed_up_over_the_baseline_is_told_only_of_rows_that_differ_in_one_part() -> None:
    """Else the solver's gain would be told as the denoiser's."""
    found = tables.tables()
    told = {name: " ".join(one.measured) for name, one in sections(found).items()}
    assert "The largest speed-up over the baseline at equal quality" in told["solver"]
    assert "The largest speed-up over the baseline at equal quality" in told["schedule"]
    assert "unet-small:ddim karras" in told["schedule"]
    assert "The largest speed-up" not in told["early-exit"]


def test_figures_of_several_families_are_drawn_anew_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[set[str]] = []

    def stub(one: object, *_: object) -> None:
        drawn.append(set(one.rows["family"]))  # type: ignore[attr-defined]

    monkeypatch.setattr("harness.report.web.family_figures.DRAWERS", {"network-share": stub, "fid-nfe": stub})
    found = tables.tables()
    one = found["trials"]["denoiser"] == "early-exit"
    found["trials"].loc[one & (found["trials"]["nfe"] == 5), "denoiser"] = "narrow"
    sections(found, {"network-share.svg": b"<svg/>", "fid-nfe.svg": b"<svg/>"})
    assert drawn[-1] == {"solver"}
    assert sorted(drawn[:2], key=sorted) == [{"early-exit", "solver"}, {"narrow", "solver"}]


def test_a_figure_of_one_family_is_that_of_the_folder() -> None:
    found = sections(tables.tables(), {"network-share.svg": b"<svg/>"})
    (figure,) = found["early-exit"].figures
    assert figure.file == "network-share.svg"
    assert figure.data == b"<svg/>"
    assert found["solver"].figures == ()
