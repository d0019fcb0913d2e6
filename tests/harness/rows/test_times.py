"""Columns of time: from the block that counts, with intervals that hold where it was disturbed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kit.row_outputs import QUIET, outputs, spec, timing

from harness.rows.row import finished_tables
from harness.rows.times import clock_over_alone, gpu_columns, speedup_over_serial, time_columns
from harness.schema import TABLES, TIMINGS
from harness.specs.time import Repetition, TimeOutput, WarmUp

BUSY = QUIET.model_copy(update={"cpu_share": 0.61, "disturbed_share": 0.9, "disturbed": "had 61 % of its core"})


def block(number: int, wall: dict[tuple[str, str], float], cpu: dict[tuple[str, str], float]) -> list[Repetition]:
    """Return 24 rounds whose seconds are these, up to 1 % of noise."""
    rng = np.random.default_rng(number)
    first = timing().repetitions[0]
    return [
        first.model_copy(
            update={
                "kind": kind, "role": role, "block": number, "round": n, "batch": 1 if kind == "latency" else 50,
                "seconds": seconds * rng.uniform(0.99, 1.01),
                "process_seconds": cpu[kind, role] * rng.uniform(0.99, 1.01),
            }
        )
        for n in range(24)
        for (kind, role), seconds in wall.items()
    ]  # fmt: skip


CPU = {("latency", "trial"): 0.2, ("latency", "baseline"): 0.4, ("throughput", "trial"): 1.0,
       ("throughput", "baseline"): 3.3}  # fmt: skip
WALL = {("latency", "trial"): 0.25, ("latency", "baseline"): 0.6, ("throughput", "trial"): 1.4,
        ("throughput", "baseline"): 6.3}  # fmt: skip


def busy(**changes: Any) -> TimeOutput:
    known = {"repetitions": block(0, WALL, CPU), "blocks": [BUSY], "counted": 0}
    return timing(**{**known, **changes})


def test_ratios_to_the_clock_and_the_clocks_own_seconds_are_in_the_row() -> None:
    row = time_columns(timing())
    assert [row[f"latency_ratio{end}"] for end in ("", "_low", "_high")] == pytest.approx([0.5, 0.5, 0.5])
    assert (row["clock_latency_seconds"], row["clock_seconds_per_image"]) == (0.4, 2.4 / 50)
    assert [row[f"clock_batch_ratio{end}"] for end in ("", "_low", "_high")] == pytest.approx([6.0] * 3)
    assert (row["throughput_batch"], row["timing_blocks"], row["cpu_share"], row["disturbed"]) == (50, 1, 1.0, "")


def test_figures_are_those_of_the_block_that_counts() -> None:
    doubled = {key: 2 * seconds for key, seconds in WALL.items()}
    timed = busy(
        repetitions=[*block(0, doubled, CPU), *block(1, CPU, CPU)],
        blocks=[BUSY, QUIET.model_copy(update={"rounds": 24, "seconds": 8.0})], counted=1,
    )  # fmt: skip
    row = time_columns(timed)
    assert row["latency_seconds"] == pytest.approx(0.2, rel=0.02)
    assert row["speedup"] == pytest.approx(3.3, rel=0.02)
    assert (row["timing_blocks"], row["timing_rounds"], row["timing_block_seconds"]) == (2, 24, 8.0)
    assert (row["disturbed"], row["cpu_share"]) == ("", 1.0)

    stored = finished_tables(spec(), outputs(time=timed), {}, {})["timings"]
    assert [one["is_counted"] for one in stored] == [False] * 96 + [True] * 96
    assert set(stored[0]) == {column.name for column in TIMINGS.columns} - {"trial_id", "attempt"}


def test_intervals_of_a_disturbed_block_reach_from_wall_to_cpu_seconds() -> None:
    row = time_columns(busy())
    assert row["disturbed"] == "had 61 % of its core"
    for name, wall, cpu in (
        ("speedup", 4.5, 3.3), ("latency_ratio", 0.25 / 0.6, 0.5), ("clock_batch_ratio", 10.5, 8.25),
    ):  # fmt: skip
        assert row[name] == pytest.approx(wall, rel=0.02)
        assert row[f"{name}_low"] == pytest.approx(min(wall, cpu), rel=0.02)
        assert row[f"{name}_high"] == pytest.approx(max(wall, cpu), rel=0.02)
        assert row[f"{name}_low"] < min(wall, cpu) < max(wall, cpu) < row[f"{name}_high"]
    assert row["latency_low_seconds"] < 0.2 < 0.25 < row["latency_high_seconds"]


@pytest.mark.parametrize("changes", [{"blocks": [QUIET]}, {"own_cpu": False}])
def test_cpu_seconds_do_not_enter_where_nothing_disturbed_or_where_they_are_not_the_trials(
    changes: dict[str, Any],
) -> None:
    row = time_columns(busy(**changes))
    assert 4.4 < row["speedup_low"] < row["speedup_high"] < 4.6
    assert row["latency_low_seconds"] > 0.24


def test_a_call_whose_cpu_seconds_are_unknown_keeps_its_wall_seconds() -> None:
    unknown = [one.model_copy(update={"process_seconds": None}) for one in block(0, WALL, CPU)]
    assert time_columns(busy(repetitions=unknown))["speedup_low"] > 4.4


def test_what_the_machine_and_the_warm_up_were_is_in_the_row() -> None:
    warm_ups = [
        WarmUp(role=role, kind="latency", calls=3, seconds=0.5, is_steady=steady)
        for role, steady in (("trial", True), ("baseline", False))
    ]
    known = {"warm_ups": warm_ups, "threads": 4, "usable_cores": 8, "load_seconds": 0.2, "compile_seconds": 50.0}
    row = time_columns(timing(**known))
    assert (row["warm_up_seconds"], row["warm_up_steady"]) == (1.0, False)
    assert [row[name] for name in ("threads", "usable_cores", "load_seconds", "compile_seconds")] == [4, 8, 0.2, 50.0]
    assert time_columns(timing(warm_ups=warm_ups[:1]))["warm_up_steady"] is True
    unjudged = [one.model_copy(update={"is_steady": None}) for one in warm_ups]
    assert time_columns(timing(warm_ups=unjudged))["warm_up_steady"] is None


def test_the_clock_over_its_own_timing_is_the_larger_of_both_kinds() -> None:
    slow = {key: (1.02 if key[0] == "latency" else 1.1) * seconds for key, seconds in CPU.items()}
    alone = timing(repetitions=block(0, CPU, CPU))
    assert clock_over_alone(timing(repetitions=block(0, slow, CPU)), alone) == pytest.approx(1.1, rel=0.01)
    assert clock_over_alone(alone, alone) == 1.0


def test_columns_of_gpus_are_empty_on_a_cpu_and_of_the_counted_block_elsewhere() -> None:
    assert set(gpu_columns(timing()).values()) == {None}
    calls = [
        one.model_copy(update={"sm_clock_mhz": 1000.0 + 10 * one.round, "temperature_celsius": 60.0 + one.round,
                               "power_capped": one.round == 0, "block": number})
        for number in (0, 1) for one in block(0, CPU, CPU)
    ]  # fmt: skip
    hot = [one if one.block else one.model_copy(update={"sm_clock_mhz": 5.0}) for one in calls]
    row = gpu_columns(timing(repetitions=hot, blocks=[BUSY, QUIET], counted=1))
    assert (row["sm_clock_mhz"], row["temperature_celsius"]) == (1115.0, 83.0)
    assert row["power_capped_share"] == pytest.approx(1 / 24)


def test_a_disturbed_row_stays_valid() -> None:
    (row,) = finished_tables(spec(), outputs(time=busy()), {}, {})["trials"]
    assert (row["verdict"], row["reasons"], row["disturbed"]) == ("VALID", "", "had 61 % of its core")
    assert {"latency_ratio", "cpu_share", "clock_batch_ratio"} <= {c.name for c in TABLES["trials"].columns} & set(row)


def test_the_speedup_over_serial_of_a_disturbed_block_has_the_same_hull() -> None:
    serial = {("latency", "serial"): 0.9}
    timed = busy(repetitions=block(0, WALL | serial, CPU | {("latency", "serial"): 0.4}))
    row = speedup_over_serial(timed)
    assert row["speedup_over_serial_low"] < 2.0 < 3.6 < row["speedup_over_serial_high"]
    assert speedup_over_serial(busy()) == {}


@pytest.mark.parametrize("preempted", [True, False])
def test_the_interval_of_a_disturbed_block_holds_the_undisturbed_ratio_as_often_as_it_says(preempted: bool) -> None:
    """A slice of 4 ms is lost for every 4 ms beyond what is left of the first: short calls escape, long ones do not."""
    rng, hits, alone = np.random.default_rng(5), 0, 0
    work = {"trial": 0.003, "baseline": 0.0099}
    trials = 200
    for _ in range(trials):
        calls = []
        for n in range(11):
            for role, seconds in work.items():
                cpu = seconds * np.exp(rng.normal(0, 0.03))
                lost = 0.004 * np.floor((cpu + rng.uniform(0, 0.004)) / 0.004) if preempted else 0.0
                calls += [
                    timing().repetitions[0].model_copy(
                        update={"kind": kind, "role": role, "round": n, "seconds": cpu + lost, "process_seconds": cpu}
                    )
                    for kind in ("latency", "throughput")
                ]  # fmt: skip
        row = time_columns(busy(repetitions=calls))
        hits += row["speedup_low"] <= 3.3 <= row["speedup_high"]
        wall = time_columns(busy(repetitions=calls, own_cpu=False))
        alone += wall["speedup_low"] <= 3.3 <= wall["speedup_high"]
    assert 0.90 <= hits / trials <= 1.0
    assert (alone / trials < 0.6) == preempted
