"""The sentences that a report begins with, on tables whose truth is known: none says more than is shown."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
from kit import tables, trainings
from pandas import DataFrame

from harness.report.analysis.comparisons import find_comparisons
from harness.report.analysis.derive import Analysis, derive
from harness.report.facts import MethodFacts
from harness.report.leaderboard import Leaderboard, build_leaderboard
from harness.report.tables.summary import NOTHING_RANKS, failures_sentence

FACTS = (
    MethodFacts("denoiser", "cut", "early exit", "", "", ""),
    MethodFacts("denoiser", "narrow", "DDSM", "", "", ""),
    MethodFacts("executor", "srds", "parallel in time", "", "", ""),
)
NFE = (5, 10, 20, 40)


def board_of(found: dict[str, DataFrame]) -> Leaderboard:
    analysis = derive(found, FACTS)
    return build_leaderboard(analysis, find_comparisons(analysis))


def lines(
    paces: dict[str, tuple[float, float]],
    spread: float = 0.0002,
    targets: tuple[float, ...] = (4.0,),
    **changes: object,
) -> Leaderboard:
    """Return the report of lines of FID = start / evaluations and time = pace x evaluations, by method.

    The line "ddim" is the baseline; `spread` is the noise of FIDs.
    """
    rows = []
    for method, (start, pace) in paces.items():
        for nfe in NFE:
            row = tables.row(method, nfe, start / nfe, pace * nfe / 20, is_baseline=method == "ddim")
            rows.append({**row, "solver": method, "fid_targets": json.dumps(targets) if targets else "", **changes})
    trials = DataFrame(rows)
    return board_of({"trials": trials, "quality": tables.quality(trials, spread)})


# fastest at equal quality


def test_a_win_is_called_the_fastest() -> None:
    first = lines({"ddim": (80.0, 1.0), "quick": (40.0, 1.0)}).summary[0]
    assert first.startswith("Fastest to FID 4: unet-small:quick (")
    assert "the baseline unet-small:ddim takes 2.00 times as long" in first
    assert first.endswith(", in one training.")


def test_a_tie_has_no_fastest() -> None:
    first = lines({"ddim": (80.0, 1.0), "a": (40.0, 1.0), "b": (40.1, 1.0)}, spread=0.02).summary[0]
    assert first.startswith("Fastest to FID 4, a tie of 2 methods: unet-small:a (")


def test_a_loss_names_the_baseline_itself() -> None:
    first = lines({"ddim": (40.0, 1.0), "slow": (40.0, 1.6)}).summary[0]
    assert first.startswith("Fastest to FID 4: unet-small:ddim (")
    assert "it is the suite's baseline" in first


def test_what_the_baseline_does_not_reach_is_said() -> None:
    first = lines({"ddim": (400.0, 1.0), "quick": (40.0, 1.0)}).summary[0]
    assert "the baseline unet-small:ddim does not reach it (its lowest FID is 10.0)" in first


def test_a_baseline_that_may_be_as_fast_is_not_called_slower() -> None:
    first = lines({"ddim": (42.0, 1.0), "quick": (40.0, 1.0)}, spread=0.05).summary[0]
    assert "which is not shown to be longer" in first
    assert first.startswith("Fastest to FID 4, a tie of 2 methods: ")


def test_no_method_reaches_any_target() -> None:
    first = lines({"ddim": (400.0, 1.0)}).summary[0]
    assert first == "No serial method reaches FID 4, the loosest target."


def test_an_uncertain_reach_is_no_reach() -> None:
    """The tightest target that is shown to be reached counts, not one that the FID alone reaches."""
    first = lines({"ddim": (80.0, 1.0), "quick": (40.0, 1.0)}, spread=0.05, targets=(4.0, 1.001)).summary[0]
    assert "to FID 4" in first
    alone = lines({"ddim": (80.0, 1.0), "quick": (40.0, 1.0)}, spread=0.05, targets=(1.001,)).summary[0]
    assert "to FID 1.00" in alone
    assert "within its interval its FID may not reach it" in alone


def test_without_targets_the_largest_speed_up_stands_in() -> None:
    first = lines({"ddim": (80.0, 1.0), "quick": (40.0, 1.0)}, targets=()).summary[0]
    assert first.startswith("The largest speed-up over the baseline at equal quality is that of unet-small:quick-")
    assert "2.00 times [" in first
    unsure = lines({"ddim": (42.0, 1.0), "quick": (40.0, 1.0)}, spread=0.05, targets=()).summary[0]
    assert "it is not shown to be faster than the baseline" in unsure
    alone = lines({"ddim": (42.0, 1.0)}, targets=()).summary[0]
    assert alone == "No row has a speed-up over the baseline at equal quality."


def test_an_upper_bound_is_not_the_largest_speed_up() -> None:
    """A row that is worse than all of the baseline's has a bound alone, however high that is."""
    found = {"ddim": (80.0, 1.0), "quick": (40.0, 1.0), "poor": (40_000.0, 0.1)}
    first = lines(found, targets=()).summary[0]
    assert "is that of unet-small:quick-" in first
    alone = lines({"ddim": (80.0, 1.0), "poor": (40_000.0, 0.1)}, targets=()).summary[0]
    assert alone == "No row has a speed-up over the baseline at equal quality."


def test_a_preparation_is_said_not_to_be_counted() -> None:
    for targets in ((4.0,), ()):
        first = lines({"ddim": (80.0, 1.0), "quick": (40.0, 1.0)}, targets=targets, prepared="schedule").summary[0]
        assert "its preparation not counted" in first


@pytest.mark.parametrize("targets", [(4.0,), ()])
def test_a_price_above_the_baselines_is_a_preparation_where_none_is_named(targets: tuple[float, ...]) -> None:
    rows = lines({"ddim": (80.0, 1.0), "quick": (40.0, 1.0)}, targets=targets).classes[0].source
    for extra, is_said in ((0.0, False), (3.0, True)):
        prices = 95.0 + extra * (rows["method"] == "quick")
        trials = rows[list(tables.trials())].drop(columns="prepared").assign(prepare_seconds=prices)
        first = board_of({"trials": trials, "quality": tables.quality(trials, 0.0002)}).summary[0]
        assert "quick" in first
        assert ("its preparation not counted" in first) is is_said


# best quality


def test_without_intervals_no_order_is_shown() -> None:
    known = {"fid_low": None, "fid_high": None}
    rows = [tables.row("ddim", nfe, fid, 1.0) for nfe, fid in ((20, 9.0), (40, 2.0), (10, 30.0))]
    bare = DataFrame([{**row, **known} for row in rows])
    (said,) = [one for one in board_of({"trials": bare}).summary if one.startswith("Lowest FID")]
    assert said == "Lowest FID: unet-small:ddim-40, 2.00; without intervals no order is shown, in one training."
    some = DataFrame([{**rows[0], **known}, *rows[1:]])
    (said,) = [one for one in board_of({"trials": some}).summary if one.startswith("Lowest FID")]
    assert "; each other row's with an interval is shown to be higher; of 1 without an interval no order" in said


def test_best_quality_is_single_only_where_no_other_row_ties() -> None:
    assert lines({"ddim": (80.0, 1.0)}).summary[1].startswith("Lowest FID: unet-small:ddim-40, 2.00")
    two = lines({"ddim": (80.0, 1.0), "b": (80.1, 1.0)}, spread=0.05).summary[1]
    assert two.startswith("Lowest FID, a tie of 2 rows: unet-small:ddim-40, 2.00")
    assert two.endswith(", in one training.")
    only = board_of({"trials": DataFrame([tables.row("ddim", 20, 9.0, 1.0)])}).summary[1]
    assert only.startswith("The only row with a FID is unet-small:ddim-20, 9.00")


# families


def claim(fid: float, control: float, count: int = 3, whole: float = 2.0, **changes: object) -> list[str]:
    """Return the sentences on one family: its FID, its control's and the whole network's in so many trainings."""
    wobble = [0.0, 0.001, -0.001][:count]
    spread = {name: [value + one for one in wobble] for name, value in
              {"ddim": whole, "cut": fid, "same": control}.items()}  # fmt: skip
    found = trainings.over_trainings(
        spread,
        ddim={"denoiser": "full", "is_baseline": True, "equivalence_margin": 0.5},
        cut={"control_of": "", "equivalence_margin": 0.5, **changes},
        same={"denoiser": "narrow", "control_of": "cut", "equivalence_margin": 0.5},
    )
    return list(board_of(found).summary)


FASTER = {"speedup": 2.0, "speedup_low": 1.99, "speedup_high": 2.01}


@pytest.mark.parametrize(
    ("fid", "control", "count", "changes", "words"),
    [
        (1.0, 2.0, 3, {}, "early exit has a lower FID than its control."),
        (1.0, 2.0, 1, {}, "early exit has a lower FID than its control, in one training."),
        (2.0, 2.0, 3, {}, "early exit is not shown to beat its control."),
        (2.0, 2.0, 3, FASTER, "early exit is faster than its control, FID at most 0.500 higher."),
        (2.0, 2.0, 1, FASTER, "early exit is faster than its control, FID at most 0.500 higher, in one training."),
        (3.0, 2.0, 3, FASTER, "early exit does not beat its control (higher FID)."),
        (1.0, 2.0, 3, {"returned": "the untuned network"},
         "early exit makes no claim, because its preparation returned something else."),
    ],
)  # fmt: skip
def test_a_family_claims_what_its_control_allows(
    fid: float, control: float, count: int, changes: dict, words: str
) -> None:
    (said,) = [one for one in claim(fid, control, count, **changes) if one.startswith("Against controls")]
    assert said == f"Against controls: {words}"


def test_what_a_family_saves_stands_beside_what_it_costs() -> None:
    (said,) = [one for one in claim(3.0, 2.0, **FASTER) if one.startswith("Beside the whole network")]
    assert ": early exit 0.500 [" in said
    assert said.endswith("] of its time, higher FID.")
    (said,) = [one for one in claim(3.0, 2.0) if one.startswith("Beside the whole network")]
    assert "of its time (less is not shown), higher FID." in said
    assert "DDSM" not in said  # a control alone claims nothing


def test_what_was_prepared_to_something_else_saves_nothing() -> None:
    said = claim(1.0, 2.0, returned="the untuned network", **FASTER)
    assert not [one for one in said if one.startswith("Beside")]


def test_several_comparisons_are_counted() -> None:
    found = trainings.over_trainings(
        {"ddim": [2.0], "cut": [1.0], "other": [2.001], "same": [2.0], "like": [2.0]},
        ddim={"denoiser": "full", "is_baseline": True},
        other={"denoiser": "cut", "params_json": '{"denoiser":{"k":1}}'},
        same={"denoiser": "narrow", "control_of": "cut"},
        like={"denoiser": "narrow", "params_json": '{"denoiser":{"k":2}}', "control_of": "other"},
        wobbles={"other": 0.5},
    )
    (said,) = [one for one in board_of(found).summary if one.startswith("Against")]
    assert "early exit: lower FID than the control in 1 of 2 comparisons, not shown to beat it in 1" in said
    (said,) = [one for one in board_of(found).summary if one.startswith("Beside")]
    assert "early exit 1.00 to 1.00 of its time in 2 rows (less shown in 0;" in said


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(1.8, 2.2, "latency, "), (0.8, 1.3, "latency (no difference shown), "), (0.4, 0.6, "latency (slower), ")],
)
def test_a_parallel_executor_stands_beside_the_serial_run(low: float, high: float, words: str) -> None:
    speed = {"speedup_over_serial": (low + high) / 2, "speedup_over_serial_low": low, "speedup_over_serial_high": high}
    rows = [
        tables.row("ddim", 20, 9.0, 1.0, is_baseline=True),
        tables.row("srds", 20, 9.0, 1.0, executor="srds", **speed),
    ]
    (said,) = [one for one in board_of({"trials": DataFrame(rows)}).summary if one.startswith("Beside the serial run")]
    assert f"the speed of the serial run by {words}its images at an unknown distance" in said
    assert "the best of" not in said


def test_the_best_of_several_parallel_rows_is_named_with_its_distance_and_its_choice() -> None:
    """The highest lower end counts, not the highest speed, nor a speed without an interval."""
    speeds = {10: (2.0, 1.8, 2.2, 0.036), 20: (2.5, 0.9, 4.0, 0.5), 40: (9.0, None, None, 0.5)}
    names = ("speedup_over_serial", "speedup_over_serial_low", "speedup_over_serial_high", "distance_to_serial")
    rows = [
        tables.row("srds", nfe, 9.0, 1.0, executor="srds", **dict(zip(names, values, strict=True)))
        for nfe, values in speeds.items()
    ]
    (said,) = [one for one in board_of({"trials": DataFrame(rows)}).summary if one.startswith("Beside the serial run")]
    assert "parallel in time: unet-small:srds-10 at 2.00 times [1.80, 2.20] the speed" in said
    assert said.endswith("its images at relative distance 0.0360 from the serial ones "
                         "(the best of 3 rows, not corrected for that).")  # fmt: skip


# what failed, and what is not shown


def test_nothing_ranks_without_valid_rows() -> None:
    bad = DataFrame([tables.row("ddim", nfe, 9.0, 1.0, verdict="INVALID", reasons="nan-samples: 3") for nfe in NFE])
    board = board_of({"trials": bad})
    assert board.summary == (NOTHING_RANKS, "Of 4 trials 4 do not rank, 4 INVALID: nan-samples (4).")
    assert board.limits == ""
    assert board_of({}).summary == (NOTHING_RANKS, "No trial has been run.")


def test_failures_are_counted_with_their_reasons() -> None:
    analysis: Analysis = derive(tables.tables())
    said = failures_sentence(analysis.invalid, len(analysis.trials))
    assert said.startswith(f"Of {len(analysis.trials)} trials 2 do not rank, 1 failed and 1 INVALID: ")
    assert "nan-samples" in said
    assert "worker-died" in said
    fine = derive(tables.tables(lambda table: table[table["verdict"] == "VALID"]))
    assert failures_sentence(fine.invalid, 40) == "Nothing failed: all 40 trials are VALID."


def known_answers(*held: bool) -> dict[str, DataFrame]:
    """Return a row of an exact network per known answer that held or did not."""
    rows = [
        tables.row("ddim", nfe, 9.0 / nfe, 1.0, network="analytic", weights="exact", is_baseline=True)
        for nfe in range(5, 5 + len(held))
    ]
    checks = [
        {"trial_id": row["trial_id"], "attempt": 1, "place": 0, "rule": "known-answer", "holds": holds,
         "found": "nfe is 7.0", "expected": "6 within 0 (one evaluation a step)"}
        for row, holds in zip(rows, held, strict=True)
    ]  # fmt: skip
    return {"trials": DataFrame(rows), "checks": DataFrame(checks)}


def test_a_suite_of_known_answers_says_whether_theory_was_recovered() -> None:
    assert "Theory was recovered: all 2 known answers hold." in board_of(known_answers(True, True)).summary
    (said,) = [one for one in board_of(known_answers(True, False)).summary if one.startswith("Theory")]
    assert said.startswith("Theory was not recovered: of 2 known answers 1 missed: analytic:ddim-6 on digits, whose")
    assert said.endswith("whose nfe is 7.0, expected 6 within 0 (one evaluation a step).")
    assert not [one for one in board_of(tables.tables()).summary if one.startswith("Theory")]


def test_of_an_exact_network_no_training_is_said() -> None:
    board = board_of(known_answers(True, True))
    assert "training" not in board.summary_text
    assert "from an exact network on digits" in board.limits


def test_every_data_set_has_its_sentences() -> None:
    found = known_answers(True, True)
    other = found["trials"].assign(
        dataset="mixture", trial_id=[tables.trial_id("other", nfe) for nfe in (5, 6)], fid=[3.0, 2.0]
    )
    board = board_of({**found, "trials": pd.concat([found["trials"], other])})
    for data in ("digits", "mixture"):
        assert [one for one in board.summary if one.startswith(f"On {data}: Lowest FID")]
    assert "conditions (" in board.limits


def test_a_baseline_that_was_not_chosen_has_not_failed() -> None:
    chosen = [tables.row("quick", nfe, 9.0 / nfe, 1.0, fid_targets="[4.0, 3.0]") for nfe in NFE]
    said = board_of({"trials": DataFrame(chosen)}).summary_text
    assert "the suite's baseline was not run here (as with --only" in said
    bad = tables.row("ddim", 10, 9.0, 1.0, is_baseline=True, verdict="INVALID", reasons="nan-samples: 3")
    said = board_of({"trials": DataFrame([*chosen, bad])}).summary_text
    assert "the suite's baseline has no VALID row" in said


def test_what_is_not_shown_names_images_trainings_features_and_machine() -> None:
    limits = board_of(tables.tables()).limits
    for words in (
        "1797 images",
        "one training of each network",
        "digits-cnn:pool",
        "not comparable to the literature",
        "times of one kind of device (Example CPU (1 thread))",
        "Where no difference is shown, none is excluded",
        "1 row is ranked apart",
    ):
        assert words in limits
    inception = board_of(tables.tables(lambda table: table.assign(extractor="inception-v3"))).limits
    assert "literature" not in inception
    disturbed = board_of(tables.tables(lambda table: table.assign(disturbed="had 61 % of its core"))).limits
    assert ", disturbed in 38 of 38 rows" in disturbed


def test_the_fewest_trainings_are_said() -> None:
    for most, fewest in ((3, 2), (3, 1), (3, 3)):
        found = trainings.over_trainings({"ddim": [2.0] * most, "cut": [3.0] * fewest}, ddim={"is_baseline": True})
        wanted = "3 trainings of each network" if most == fewest else f"{fewest} to 3 trainings of a network"
        assert f"from {wanted} on digits" in board_of(found).limits


def test_the_text_has_a_sentence_a_line() -> None:
    board = board_of(tables.tables())
    written = board.summary_text.splitlines()
    assert written == [*board.summary, board.limits]
    assert all(line.endswith(".") and line == line.strip() for line in written)
    assert 3 <= len(board.summary) <= 5
    assert not any(math.nan is word or word in ("nan", "inf") for line in written for word in line.split())
