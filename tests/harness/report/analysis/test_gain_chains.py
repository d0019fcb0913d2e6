"""Chains of gains: links, missing rows, labels, Heun, networks; answers in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from kit.gain_kit import SECOND, STUDENT_T, analyse, baseline, exit_chain, gains_of, line, one

from harness.report.analysis.gain_chains import CHAIN, THROUGHPUT, TOGETHER, find_gains
from harness.report.analysis.gains import gains_table


def test_a_chain_says_what_solver_network_and_denoiser_each_brought() -> None:
    solver, network, denoiser = gains_of(exit_chain(), "early-exit/dpmpp-2m")
    assert [gain.part for gain in (solver, network, denoiser)] == ["solver", "network", "denoiser"]
    assert [gain.fid.value for gain in (solver, network, denoiser)] == pytest.approx([-4.0, -0.5, 0.2])
    assert [gain.time.value for gain in (solver, network, denoiser)] == pytest.approx([1.02, 0.5, 0.6])
    assert {gain.measure for gain in (solver, network, denoiser)} == {THROUGHPUT}


def test_the_table_has_a_cell_per_part_and_none_where_parts_are_equal() -> None:
    found = line(exit_chain(), "uvit:early-exit/dpmpp-2m-10")
    assert found["From"] == "unet:ddim-10"
    assert found["Solver"] == "FID -4.00 [-4.00, -4.00], time ×1.02 [1.01, 1.03]"
    assert found["Schedule"] == found["Executor"] == ""
    assert found["Network"] == "FID -0.500 [-0.500, -0.500], time ×0.500 [0.493, 0.507]"
    assert found["Denoiser"] == "FID +0.200 [0.200, 0.200], time ×0.600 [0.592, 0.609]"
    assert found["All together"] == "FID -4.30 [-4.30, -4.30], time ×0.306 [0.302, 0.310]"


def test_rows_of_the_baseline_have_no_line() -> None:
    rows = [baseline(), baseline(steps=20), one("dpmpp-2m", **SECOND)]
    assert [row[0] for row in gains_table(find_gains(analyse(rows))).rows] == ["unet:dpmpp-2m-10"]


def test_a_single_link_is_not_repeated_as_all_together() -> None:
    rows = [baseline(), one("dpmpp-2m", **SECOND)]
    assert line(rows, "unet:dpmpp-2m-10")["All together"] == ""
    assert {gain.kind for gain in find_gains(analyse(rows))} == {CHAIN}


def test_differences_of_fid_are_paired_by_image() -> None:
    """Swings that two rows share cancel; what is left makes the jackknife's interval."""
    rows = [baseline(9.0, wobble=0.3), one("dpmpp-2m", 5.0, wobble=0.4, **SECOND)]
    (found,) = gains_of(rows, "dpmpp-2m")
    half = STUDENT_T * math.sqrt(19 / 20 * 20 * 0.1**2)
    assert (found.fid.value, found.fid.half) == pytest.approx((-4.0, half))


def test_intervals_of_two_times_combine_in_log_space() -> None:
    rows = [baseline(time=1.0), one("dpmpp-2m", time=0.8, **SECOND)]
    rows[0] |= {"speedup_low": math.exp(-0.03), "speedup_high": math.exp(0.03)}
    rows[1] |= {"speedup_low": math.exp(-0.04) / 0.8, "speedup_high": math.exp(0.04) / 0.8}
    (found,) = gains_of(rows, "dpmpp-2m")
    ends = (found.time.low, found.time.value, found.time.high)
    assert ends == pytest.approx((0.8 * math.exp(-0.05), 0.8, 0.8 * math.exp(0.05)))


def test_a_time_without_interval_has_open_ends_and_a_missing_one_a_dash() -> None:
    bare = one("dpmpp-2m", 5.0, 0.8, **SECOND) | {"speedup_low": None, "speedup_high": None}
    assert line([baseline(), bare], "unet:dpmpp-2m-10")["Solver"] == "FID -4.00 [-4.00, -4.00], time ×0.800"
    untimed = bare | {"speedup": None}
    assert line([baseline(), untimed], "unet:dpmpp-2m-10")["Solver"] == "FID -4.00 [-4.00, -4.00], time –"


def test_links_of_a_whole_chain_make_up_all_together() -> None:
    """Whatever the figures: differences add up, ratios multiply."""
    draw = np.random.default_rng(3)
    for _ in range(5):
        rows = [
            row | {"fid": fid, "speedup": 1 / time, "speedup_low": None, "speedup_high": None}
            for row, fid, time in zip(exit_chain(), draw.uniform(1, 20, 4), draw.uniform(0.2, 5, 4), strict=True)
        ]
        chain = gains_of(rows, "early-exit/dpmpp-2m")
        (total,) = gains_of(rows, "early-exit/dpmpp-2m", TOGETHER)
        assert sum(gain.fid.value for gain in chain) == pytest.approx(total.fid.value)
        assert math.prod(gain.time.value for gain in chain) == pytest.approx(total.time.value)


def test_a_missing_row_is_named_and_the_next_link_holds_both_gains() -> None:
    rows = [row for row in exit_chain() if (row["method"], row["network"]) != ("dpmpp-2m", "unet")]
    found = line(rows, "uvit:early-exit/dpmpp-2m-10")
    assert found["Solver"] == "unet:dpmpp-2m-10 is not in these results"
    assert found["Network"] == "FID -4.50 [-4.50, -4.50], time ×0.510 [0.503, 0.517]: solver and network together"
    assert found["Denoiser"] == "FID +0.200 [0.200, 0.200], time ×0.600 [0.592, 0.609]"
    solver, network, denoiser = gains_of(rows, "early-exit/dpmpp-2m")
    assert (solver.parts, network.parts, denoiser.parts) == (("solver",), ("solver", "network"), ("denoiser",))


def test_three_parts_whose_rows_are_missing_are_one_gain() -> None:
    rows = [exit_chain()[0], exit_chain()[3]]
    found = line(rows, "uvit:early-exit/dpmpp-2m-10")
    assert found["Solver"] == "unet:dpmpp-2m-10 is not in these results"
    assert found["Network"] == "uvit:dpmpp-2m-10 is not in these results"
    assert found["Denoiser"].endswith(": solver, network and denoiser together")
    assert found["Denoiser"].startswith("FID -4.30 ")


def test_without_the_baseline_at_these_steps_later_links_still_stand() -> None:
    rows = [baseline(steps=20), *exit_chain()[1:]]
    found = line(rows, "uvit:early-exit/dpmpp-2m-10")
    assert found["From"] == "–"
    assert found["Solver"] == found["All together"] == "unet:ddim-10 is not in these results"
    assert found["Network"] == "FID -0.500 [-0.500, -0.500], time ×0.500 [0.493, 0.507]"


def test_without_any_row_of_the_baseline_nothing_is_split() -> None:
    assert gains_table(find_gains(analyse(exit_chain()[1:]))).rows == []


def test_a_row_that_does_not_rank_is_missing_for_its_own_reason() -> None:
    rows = exit_chain()
    rows[1] |= {"verdict": "INVALID", "reasons": "nan-samples"}
    rows[2] |= {"status": "failed", "verdict": "INVALID", "fid": None}
    found = line(rows, "uvit:early-exit/dpmpp-2m-10")
    assert found["Solver"] == "unet:dpmpp-2m-10 is INVALID"
    assert found["Network"] == "uvit:dpmpp-2m-10 failed"


@pytest.mark.parametrize("column", ["device_name", "timing_tier", "extractor_sha256", "precision_dtype", "batch"])
def test_rows_whose_figures_mean_other_things_are_not_compared(column: str) -> None:
    rows = [baseline(), one("dpmpp-2m", **SECOND), one("dpmpp-2m", **SECOND, network="uvit")]
    rows[1][column] = 7 if column == "batch" else "another"
    found = line(rows, "uvit:dpmpp-2m-10")
    assert found["Solver"] == "unet:dpmpp-2m-10 was measured under other conditions"
    assert found["Network"].endswith("solver and network together")


def test_labels_neither_hide_a_link_nor_make_one() -> None:
    """Parts and parameters decide: a row of another name is found, one of the same name and other parts is not."""
    levels = {"schedule": "few-step", "parameters_of": {"schedule": {"rounds": 1}}}
    tuned = {"denoiser": "few-step", "parameters_of": {"schedule": {"rounds": 1}, "denoiser": {"objective": "data"}}}
    rows = [
        baseline(9.0),
        one("levels-alone", 7.0, **levels),
        one("ddim@few-step", 3.0, schedule="few-step", parameters_of={"schedule": {"rounds": 2}}),
        one("trained-on", 6.0, **{**levels, **tuned}),
    ]
    schedule, denoiser = gains_of(rows, "trained-on")
    assert (schedule.part, denoiser.part) == ("schedule", "denoiser")
    assert schedule.after is not None
    assert schedule.after["method"] == "levels-alone"
    assert [schedule.fid.value, denoiser.fid.value] == pytest.approx([-2.0, -1.0])
    assert line(rows, "unet:trained-on-10")["From"] == "unet:ddim-10"


def test_a_missing_row_is_spelled_as_the_suite_would_print_it() -> None:
    """Parameters in brackets as other names have them; parts that names leave out are left out."""
    few = {"schedule": "few-step", "parameters_of": {"schedule": {"objective": "bound"}}}
    rows = [
        baseline(parameters_of={"schedule": {}}),
        one("dpmpp-2m@few-step(objective=bound)", steps=20, **few, **SECOND),
        one("best", network="uvit", **few, **SECOND),
    ]
    found = line(rows, "uvit:best-10")
    assert found["Solver"] == "unet:dpmpp-2m-10 is not in these results"
    assert found["Schedule"] == "unet:dpmpp-2m@few-step(objective=bound)-10 is not in these results"


def test_parts_that_labels_alone_have_are_told_apart_by_their_parameters() -> None:
    """Two schedules of one kind: the missing row must not get the name of the one that is there."""
    first = {"schedule": "few-step", "parameters_of": {"schedule": {"rounds": 1}}}
    second = {"schedule": "few-step", "parameters_of": {"schedule": {"rounds": 2}}}
    rows = [baseline(), one("ddim@few-step", **first), one("two-rounds", network="uvit", **second)]
    assert line(rows, "uvit:two-rounds-10")["Schedule"] == "unet:ddim@few-step(rounds=2)-10 is not in these results"


@pytest.mark.parametrize("counted", [9, 10])
def test_heun_is_compared_at_equal_evaluations(counted: int) -> None:
    """Two evaluations a step, whether or not the last step saves one; its other links have its own steps."""
    heun = {"solver": "heun", "nfe": counted, "steps": 5}
    rows = [
        baseline(20.0, 0.5, steps=5),
        baseline(9.0, 1.0, steps=10),
        one("heun", 6.0, 1.1, **heun),
        one("heun@karras", 5.0, 1.1, **heun, schedule="karras"),
    ]
    solver, schedule = gains_of(rows, "heun@karras")
    assert solver.before is not None
    assert solver.before["steps"] == 10
    assert (solver.fid.value, solver.time.value) == pytest.approx((-3.0, 1.1))
    assert schedule.before is not None
    assert schedule.before["method"] == "heun"
    assert line(rows, "unet:heun@karras-5")["From"] == "unet:ddim-10"


def test_heun_without_a_baseline_of_its_evaluations_names_that_one() -> None:
    rows = [baseline(steps=5), one("heun", solver="heun", nfe=9, steps=5)]
    assert line(rows, "unet:heun-5")["Solver"] == "unet:ddim-10 is not in these results"


def test_a_baseline_of_two_evaluations_a_step_cannot_have_an_odd_number() -> None:
    heun = {"solver": "heun", "is_baseline": True}
    rows = [one("heun", steps=2, nfe=4, **heun), one("heun", steps=3, nfe=6, **heun), one("ddim", steps=5)]
    assert line(rows, "unet:ddim-5")["Solver"] == "5 evaluations are no whole number of the baseline's steps"
    rows.append(one("ddim", 4.0, steps=4))
    assert line(rows, "unet:ddim-4")["From"] == "unet:heun-2"


def test_a_solver_that_only_parallel_rows_have_is_not_compared_at_a_guess() -> None:
    rows = [baseline(), one("heun/srds", solver="heun", executor="srds", nfe=40)]
    assert "evaluations of a step are unknown" in line(rows, "unet:heun/srds-10")["All together"]


def test_each_network_has_a_chain_of_its_own() -> None:
    rows = [baseline(9.0), one("ddim", 8.0, 0.7, network="uvit"), one("ddim", 8.5, 0.9, network="slim")]
    found = {row[0]: row[4] for row in gains_table(find_gains(analyse(rows))).rows}
    assert found == {
        "uvit:ddim-10": "FID -1.00 [-1.00, -1.00], time ×0.700 [0.690, 0.710]",
        "slim:ddim-10": "FID -0.500 [-0.500, -0.500], time ×0.900 [0.887, 0.913]",
    }


def test_equal_names_of_other_weights_are_other_networks() -> None:
    """A network that was trained anew is no equal part, whatever its name."""
    rows = [baseline(9.0, weights="zoo:a"), one("dpmpp-2m", 5.0, **SECOND, weights="trained")]
    assert [gain.part for gain in gains_of(rows, "dpmpp-2m")] == ["solver", "network"]
