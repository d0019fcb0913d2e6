"""Gains split by part: what each link of a chain brought, and which row is missing where one cannot be shown."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.gain_chains import ALONE, CHAIN, LATENCY, THROUGHPUT, TOGETHER, Gain, find_gains
from harness.report.analysis.gains import gains_csv, gains_table, one_part_table

STUDENT_T = 2.0930240544
"""0.975 quantile of Student's t, 19 degrees of freedom."""


def one(
    method: str, fid: float = 5.0, time: float = 1.0, steps: int = 10, wobble: float = 0.0, **changes: Any
) -> dict[str, Any]:
    """Return a row; its replicates swing by `wobble` about its FID, its time is known to a factor of exp(+-0.01)."""
    ends = {"speedup_low": math.exp(-0.01) / time, "speedup_high": math.exp(0.01) / time}
    changes = {"network": "unet", "schedule": "edm", "steps": steps, "clock_trial_id": "clock", **ends, **changes}
    parameters = changes.pop("parameters_of", {})
    changes["params_json"] = json.dumps(parameters, sort_keys=True)
    identity = tables.trial_id(
        method, steps, changes["network"], changes.get("dataset", ""), changes.get("seed_set", 0)
    )
    made = tables.row(method, changes.pop("nfe", steps), fid, time, **{"trial_id": identity, **changes})
    return {**made, "wobble": wobble}


def baseline(fid: float = 9.0, time: float = 1.0, steps: int = 10, **changes: Any) -> dict[str, Any]:
    return one("ddim", fid, time, steps, is_baseline=True, **changes)


SECOND = {"solver": "dpmpp-2m"}
EXIT = {**SECOND, "network": "uvit", "denoiser": "early-exit"}


def exit_chain() -> list[dict[str, Any]]:
    """Return an early exit with all rows that its chain needs."""
    return [
        baseline(9.0, 1.0),
        one("dpmpp-2m", 5.0, 1.02, **SECOND),
        one("dpmpp-2m", 4.5, 0.51, **SECOND, network="uvit"),
        one("early-exit/dpmpp-2m", 4.7, 0.306, **EXIT),
    ]


def analyse(rows: list[dict[str, Any]]) -> Analysis:
    swings = [
        {"trial_id": row["trial_id"], "attempt": 1, "group": k, "fid": row["fid"] + row["wobble"] * (-1) ** k}
        for row in rows
        if row["fid"] is not None
        for k in range(20)
    ]
    return derive({"trials": DataFrame(rows).drop(columns="wobble"), "quality": DataFrame(swings)})


def gains_of(rows: list[dict[str, Any]], method: str, kind: str = CHAIN, network: str | None = None) -> list[Gain]:
    return [
        gain
        for gain in find_gains(analyse(rows))
        if gain.kind == kind and gain.row["method"] == method and network in (None, gain.row["network"])
    ]


def line(rows: list[dict[str, Any]], trial: str) -> dict[str, str]:
    """Return the cells of a trial's line of the table by their headings."""
    section = gains_table(analyse(rows))
    (found,) = (row for row in section.rows if row[0] == trial)
    return dict(zip(section.headings, found, strict=True))


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
    assert [row[0] for row in gains_table(analyse(rows)).rows] == ["unet:dpmpp-2m-10"]


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
    assert gains_table(analyse(exit_chain()[1:])).rows == []


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
    found = {row[0]: row[4] for row in gains_table(analyse(rows)).rows}
    assert found == {
        "uvit:ddim-10": "FID -1.00 [-1.00, -1.00], time ×0.700 [0.690, 0.710]",
        "slim:ddim-10": "FID -0.500 [-0.500, -0.500], time ×0.900 [0.887, 0.913]",
    }


def test_equal_names_of_other_weights_are_other_networks() -> None:
    """A network that was trained anew is no equal part, whatever its name."""
    rows = [baseline(9.0, weights="zoo:a"), one("dpmpp-2m", 5.0, **SECOND, weights="trained")]
    assert [gain.part for gain in gains_of(rows, "dpmpp-2m")] == ["solver", "network"]


SRDS = {"executor": "srds", "devices": 2, "nfe": 22.0}


def test_a_parallel_executor_is_compared_with_the_serial_row_by_latency() -> None:
    """Across classes, since it has two devices; the serial run of its timing block is the closest pair."""
    paired = {"speedup_over_serial": 1.6, "speedup_over_serial_low": 1.25, "speedup_over_serial_high": 2.0}
    rows = [baseline(9.0, 1.0), one("ddim/srds", 9.1, 3.0, **SRDS, **paired)]
    (found,) = gains_of(rows, "ddim/srds")
    assert (found.part, found.measure) == ("executor", LATENCY)
    assert (found.time.low, found.time.value, found.time.high) == pytest.approx((0.5, 0.625, 0.8))
    assert line(rows, "unet:ddim/srds-10")["Executor"] == "FID +0.100 [0.100, 0.100], latency ×0.625 [0.500, 0.800]"


def test_latencies_of_two_rows_are_compared_where_no_block_had_both() -> None:
    """Each over its clock's; the executors' own block lacks the serial run."""
    ratio = {
        "latency_ratio": 0.6,
        "latency_ratio_low": 0.6 * math.exp(-0.03),
        "latency_ratio_high": 0.6 * math.exp(0.03),
    }
    other = {
        "latency_ratio": 1.2,
        "latency_ratio_low": 1.2 * math.exp(-0.04),
        "latency_ratio_high": 1.2 * math.exp(0.04),
    }
    rows = [baseline(9.0, 1.0, **other), one("ddim/srds", 9.1, 3.0, **SRDS, **ratio)]
    (found,) = gains_of(rows, "ddim/srds")
    ends = (found.time.low, found.time.value, found.time.high)
    assert ends == pytest.approx((0.5 * math.exp(-0.05), 0.5, 0.5 * math.exp(0.05)))


def test_latencies_of_old_results_are_those_of_their_own_blocks() -> None:
    rows = [baseline(9.0, 1.0, latency_seconds=0.8), one("ddim/srds", 9.1, 3.0, **SRDS, latency_seconds=0.4)]
    (found,) = gains_of(rows, "ddim/srds")
    assert found.time.value == pytest.approx(0.5)


def test_two_parallel_rows_are_not_compared_with_the_serial_run_of_one_block() -> None:
    """A baseline that is itself parallel: the row's own pairs are with a serial run, not with the baseline."""
    paired = {"speedup_over_serial": 4.0, "speedup_over_serial_low": 3.9, "speedup_over_serial_high": 4.1}
    rows = [
        one("ddim/srds", 9.0, latency_seconds=0.8, executor="srds", is_baseline=True),
        one("ddim/paradigms", 9.1, executor="paradigms", latency_seconds=0.4, **paired),
        one("ddim", 9.0, latency_seconds=1.6),
    ]
    (found,) = gains_of(rows, "ddim/paradigms")
    assert found.time.value == pytest.approx(0.5)


def test_a_parallel_run_of_two_parts_holds_both_in_latency() -> None:
    """The pairs of its block are with its own serial run, which is no row here: they would hide the solver."""
    paired = {"speedup_over_serial": 1.6, "speedup_over_serial_low": 1.25, "speedup_over_serial_high": 2.0}
    rows = [baseline(9.0, 1.0, latency_seconds=0.8)]
    rows.append(one("dpmpp-2m/srds", 5.0, 3.0, **SRDS, **SECOND, **paired, latency_seconds=0.2))
    rows.append(one("dpmpp-2m", 5.0, 1.0, steps=20, **SECOND))
    found = line(rows, "unet:dpmpp-2m/srds-10")
    assert found["Solver"] == "unet:dpmpp-2m-10 is not in these results"
    assert "latency ×0.250" in found["Executor"]
    assert found["Executor"].endswith(": solver and executor together")


def test_a_part_is_also_set_back_alone() -> None:
    """What the schedule brings under the better solver is not what it brings under the baseline's."""
    rows = [
        baseline(9.0),
        one("dpmpp-2m", 5.0, **SECOND),
        one("ddim@few-step", 6.0, schedule="few-step"),
        one("dpmpp-2m@few-step", 4.5, schedule="few-step", **SECOND),
    ]
    alone = {gain.part: gain.fid.value for gain in gains_of(rows, "dpmpp-2m@few-step", ALONE)}
    assert alone == pytest.approx({"solver": -1.5, "schedule": -0.5})
    assert one_part_table(analyse(rows)).rows == [
        ("unet:dpmpp-2m@few-step-10", "solver", "unet:ddim@few-step-10",
         "FID -1.50 [-1.50, -1.50], time ×1.00 [0.986, 1.01]"),
    ]  # fmt: skip


def test_parts_whose_row_is_missing_are_not_set_back() -> None:
    assert one_part_table(analyse(exit_chain())).rows == []


def test_data_sets_are_apart_and_named_where_there_are_several() -> None:
    rows = [baseline(9.0), one("dpmpp-2m", 5.0, **SECOND)]
    rows += [baseline(90.0, dataset="faces", clock_trial_id="other")]
    rows += [one("dpmpp-2m", 70.0, **SECOND, dataset="faces", clock_trial_id="other")]
    found = {row[0]: row[1:3] for row in gains_table(analyse(rows)).rows}
    assert found["faces unet:dpmpp-2m-10"][0] == "faces unet:ddim-10"
    assert found["faces unet:dpmpp-2m-10"][1].startswith("FID -20.0 ")
    assert found["digits unet:dpmpp-2m-10"][1].startswith("FID -4.00 ")


def test_seed_sets_are_averaged_before_they_are_compared() -> None:
    rows = [
        row
        for seed, shift in ((0, 0.0), (1, 0.5))
        for row in (baseline(9.0, seed_set=seed), one("dpmpp-2m", 5.0 + shift, **SECOND, seed_set=seed))
    ]
    (found,) = gains_of(rows, "dpmpp-2m")
    assert found.fid.value == pytest.approx(-3.75)


def trained(rows: list[dict[str, Any]], training: int, shift: float = 0.0, **changes: Any) -> list[dict[str, Any]]:
    """Return the rows of a further training: same names, other weights."""
    return [
        row | {"training": training, "trial_id": tables.trial_id(row["trial_id"], training), "fid": row["fid"] + shift,
               "weights": f"zoo:{row['network']}-seed{training}", **changes}
        for row in rows
    ]  # fmt: skip


def test_differences_are_taken_within_each_training_first() -> None:
    """Trainings differ by 3 in both rows, which cancels; what is left makes Student's t of two degrees of freedom."""
    rows = [baseline(9.0), one("dpmpp-2m", 5.0, **SECOND)]
    second = trained(rows, 1, 3.0)
    third = trained(rows, 2, -3.0)
    second[1]["fid"] += 0.2
    third[1]["fid"] -= 0.2
    (found,) = gains_of([*rows, *second, *third], "dpmpp-2m")
    assert found.fid.value == pytest.approx(-4.0)
    assert found.fid.half == pytest.approx(4.302653 * 0.2 / math.sqrt(3))  # t at 0.975; deviation of -0.2, 0, 0.2
    assert [found.fid.by_training[k] for k in (0.0, 1.0, 2.0)] == pytest.approx([-4.0, -3.8, -4.2])


def test_a_link_is_over_the_trainings_that_both_rows_have() -> None:
    """The row kept of a configuration may be another training's, with other weights: the network is the same."""
    rows = [baseline(9.0), one("dpmpp-2m", 5.0, **SECOND)]
    lost = [rows[0], rows[1] | {"verdict": "INVALID"}]
    (found,) = gains_of([*lost, *trained(rows, 1, 0.5), *trained(rows[:1], 2, 7.0)], "dpmpp-2m")
    assert found.part == "solver"
    assert found.fid.by_training == pytest.approx({1.0: -4.0})


def test_rows_without_a_common_training_show_no_difference() -> None:
    rows = [baseline(9.0), one("dpmpp-2m", 5.0, **SECOND)]
    found = line([rows[0], *trained(rows[1:], 1)], "unet:dpmpp-2m-10")
    assert found["Solver"].startswith("FID –, time ×1.00")


def test_the_csv_has_every_link_with_its_numbers_in_full() -> None:
    rows = [row for row in exit_chain() if (row["method"], row["network"]) != ("dpmpp-2m", "unet")]
    lines = list(csv.DictReader(io.StringIO(gains_csv(analyse(rows)))))
    solver, network, denoiser = (cells for cells in lines if cells["kind"] == CHAIN and "exit" in cells["trial"])
    assert (solver["part"], solver["missing"]) == ("solver", "unet:dpmpp-2m-10 is not in these results")
    assert solver["fid_difference"] == solver["time_ratio"] == solver["after"] == ""
    assert (network["parts"], network["before"], network["after"]) == (
        "solver network", "unet:ddim-10", "uvit:dpmpp-2m-10",
    )  # fmt: skip
    assert float(network["time_ratio"]) == 0.51
    assert float(denoiser["fid_difference"]) == pytest.approx(0.2, abs=1e-15)
    assert float(denoiser["time_ratio_high"]) == pytest.approx(0.6 * math.exp(math.hypot(0.01, 0.01)))
    assert (denoiser["time_of"], denoiser["trainings"]) == ("time", "1")


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = exit_chain()
    assert gains_csv(analyse(rows)) == gains_csv(analyse(rows[::-1]))


def test_tables_without_rows_have_no_gains() -> None:
    nothing = derive({})
    assert gains_table(nothing).rows == one_part_table(nothing).rows == []
    assert len(gains_csv(nothing).splitlines()) == 1
