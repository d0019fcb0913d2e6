"""Gains of parallel rows, parts set back alone, trainings, and the CSV; answers in closed form."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pytest
from kit import tables
from kit.gain_kit import SECOND, analyse, baseline, exit_chain, gains_of, line, one

from harness.report.analysis.derive import derive
from harness.report.analysis.gain_chains import ALONE, CHAIN, LATENCY, find_gains
from harness.report.analysis.gains import gains_csv, gains_table, one_part_table

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
    assert one_part_table(find_gains(analyse(rows))).rows == [
        ("unet:dpmpp-2m@few-step-10", "solver", "unet:ddim@few-step-10",
         "FID -1.50 [-1.50, -1.50], time ×1.00 [0.986, 1.01]"),
    ]  # fmt: skip


def test_parts_whose_row_is_missing_are_not_set_back() -> None:
    assert one_part_table(find_gains(analyse(exit_chain()))).rows == []


def test_data_sets_are_apart_and_named_where_there_are_several() -> None:
    rows = [baseline(9.0), one("dpmpp-2m", 5.0, **SECOND)]
    rows += [baseline(90.0, dataset="faces", clock_trial_id="other")]
    rows += [one("dpmpp-2m", 70.0, **SECOND, dataset="faces", clock_trial_id="other")]
    found = {row[0]: row[1:3] for row in gains_table(find_gains(analyse(rows))).rows}
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
    lines = list(csv.DictReader(io.StringIO(gains_csv(find_gains(analyse(rows))))))
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
    assert gains_csv(find_gains(analyse(rows))) == gains_csv(find_gains(analyse(rows[::-1])))


def test_tables_without_rows_have_no_gains() -> None:
    nothing = derive({})
    assert gains_table(find_gains(nothing)).rows == one_part_table(find_gains(nothing)).rows == []
    assert len(gains_csv(find_gains(nothing)).splitlines()) == 1
