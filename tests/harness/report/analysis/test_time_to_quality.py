"""Times to FID targets of whole classes: order, ranks, references, trainings."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from kit import tables
from kit.curve_kit import LATENCIES, STEPS
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.method_curve import LATENCY, THROUGHPUT, MethodCurve, build_curve
from harness.report.analysis.rows import typed_table
from harness.report.analysis.target_ratio import THE_SAME
from harness.report.analysis.target_time import (
    AT_SMALLEST,
    FEWER_TRAININGS,
    NOT_MEASURED,
    NOT_REACHED,
    REACHED,
    read_target,
)
from harness.report.analysis.time_to_quality import ClassQuality, rank_order, read_class, read_targets
from harness.report.analysis.times import add_pooled_times


def analysis_of(*rows: dict, targets: tuple[float, ...] = (20.0, 10.0)) -> Analysis:
    trials = DataFrame(list(rows)).assign(fid_targets=json.dumps(targets))
    return derive({"trials": trials, "quality": tables.quality(trials, 0.002)})


def solver(method: str, law: float, pace: float, steps: tuple[int, ...] = STEPS, **changes: object) -> list[dict]:
    """Return rows of FID = law / steps whose time is pace * steps over the clock's 20 steps."""
    changes = {"solver": method.split("@")[0], **changes}
    return [tables.row(method, n, law / n, pace * n / 20, **changes) for n in steps]


def quality_of(*rows: dict, targets: tuple[float, ...] = (20.0, 10.0)) -> ClassQuality:
    analysis = analysis_of(*rows, targets=targets)
    return read_class(analysis.classes[0], analysis)


def baseline() -> list[dict]:
    return solver("ddim", 200.0, 1.0, is_baseline=True)


def test_no_bound_has_a_rank_and_lines_stand_by_time() -> None:
    quality = quality_of(
        *baseline(),
        *solver("slow", 200.0, 2.0),
        *solver("best", 40.0, 1.0),
        *solver("never", 900.0, 1.0),
        *solver("alone", 100.0, 1.0, steps=(20,)),
    )
    times = sorted(
        (one for one in quality.times.values() if one.target == 10.0), key=lambda one: one.rank or len(quality.times)
    )
    by_method = {one.line.method: one for one in times}
    assert by_method["best"].ranked.time.state == AT_SMALLEST
    assert by_method["alone"].ranked.time.state == AT_SMALLEST
    assert by_method["never"].ranked.time.state == NOT_REACHED
    assert [by_method[name].rank for name in ("best", "alone", "never")] == [None, None, None]
    assert (by_method["ddim"].rank, by_method["slow"].rank) == (1, 2)  # two bounds stand above them
    assert [line.method for line in quality.serial] == ["best", "alone", "ddim", "slow", "never"]


def test_what_ties_with_rank_1_and_with_the_first_is_marked() -> None:
    quality = quality_of(
        *baseline(),
        *solver("near", 200.0, 1.001),
        *solver("far", 200.0, 5.0),
        *solver("low", 40.0, 1.0),
        *solver("high", 95.0, 2.0, steps=(20,)),
    )
    found = {one.line.method: one for one in quality.times.values() if one.target == 10.0}
    assert {name: one.rank for name, one in found.items()} == {
        "ddim": 1, "near": 2, "far": 3, "low": None, "high": None,
    }  # fmt: skip
    # a bound is certainly sooner where its upper end is; another may be as soon, as its lower end is open
    assert {name for name, one in found.items() if one.ties_with_rank_1} == {"near", "high"}
    # the first in order is a bound
    assert min(found.values(), key=rank_order) is found["low"]
    assert {name for name, one in found.items() if one.ties_with_first} == {"high"}


def test_every_rank_is_a_value_and_ranks_rise_with_time() -> None:
    quality = quality_of(*baseline(), *solver("a", 150.0, 1.1), *solver("b", 170.0, 0.7), *solver("c", 60.0, 1.3))
    for target in quality.targets:
        found = sorted(
            (one for one in quality.times.values() if one.target == target and one.rank), key=lambda x: x.rank
        )
        assert found
        assert all(one.ranked.time.state == REACHED for one in found)
        assert [one.rank for one in found] == list(range(1, len(found) + 1))
        assert all(a.ranked.time.seconds <= b.ranked.time.seconds for a, b in pairwise(found))


def test_the_best_free_schedule_costs_nothing_and_keeps_the_baselines_solver() -> None:
    free = solver("ddim@logsnr", 160.0, 1.0, schedule="logsnr")
    searched = solver("ddim@few-step", 100.0, 1.0, schedule="few-step", prepared="schedule")
    priced = solver("ddim@gits", 90.0, 1.0, schedule="gits", prepare_seconds=96.0)
    other = solver("unipc", 80.0, 1.0)
    quality = quality_of(*baseline(), *free, *searched, *priced, *other)
    found = {one.line.method: one.by_measure[THROUGHPUT.name] for one in quality.times.values() if one.target == 10.0}
    assert {one.costless for one in found.values()} == {"unet-small:ddim@logsnr"}
    assert found["unipc"].over_costless.value == pytest.approx(2.0)
    assert found["unipc"].over_baseline.value == pytest.approx(2.5)
    assert found["ddim@logsnr"].over_costless.note == THE_SAME


def test_parallel_executors_rank_by_latency_and_apart() -> None:
    rows = solver("ddim/srds", 200.0, 5.0, executor="srds")
    quick = [{**row, **{name: 0.01 * row[name] for name in LATENCIES}} for row in rows]
    quality = quality_of(*baseline(), *quick)
    one = quality.times["unet-small:ddim/srds", 10.0]
    assert [line.method for line in quality.parallel] == ["ddim/srds"]
    assert one.ranked.measure is LATENCY
    assert one.ranked.time.seconds == pytest.approx(0.01 * 2.1 * tables.SECONDS * 20 * 5)  # at 20 steps
    assert one.rank == 1
    assert one.by_measure[THROUGHPUT.name].over_baseline.value == pytest.approx(0.2)


def test_a_disturbed_value_has_a_rank_only_where_its_interval_is_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.report.analysis import time_to_quality

    quality = quality_of(*baseline(), *solver("near", 200.0, 1.001), *solver("far", 200.0, 5.0))
    times = [one for one in quality.times.values() if one.target == 10.0]
    disturbed = []
    for one in times:
        time = type(one.ranked.time)(**{**one.ranked.time.__dict__, "disturbed": one.line.method != "ddim"})
        measured = type(one.ranked)(**{**one.ranked.__dict__, "time": time})
        disturbed.append(type(one)(**{**one.__dict__, "by_measure": {**one.by_measure, "throughput": measured}}))
    ranks = {one.line.method: one.rank for one in time_to_quality.rank_times(disturbed)}
    assert ranks == {"ddim": 1, "near": None, "far": 2}


def test_members_give_each_training_its_own_curve_and_time() -> None:
    rows = add_pooled_times(typed_table("trials", DataFrame(baseline())))
    second = rows.assign(training=1.0, fid=rows["fid"] * 2, speedup=rows["speedup"] / 1.05)
    members = pd.concat([rows.assign(training=0.0), second]).assign(row_id=lambda table: table["trial_id"])
    curve = build_curve(rows, LATENCY, DataFrame(), members)
    assert curve.trainings == (0, 1)
    assert curve.fid_by_training[1] == pytest.approx(2 * curve.fid)
    assert curve.shift_by_training == pytest.approx(0.0)
    in_batch = build_curve(rows, THROUGHPUT, DataFrame(), members)
    assert np.exp(in_batch.shift_by_training[1]) == pytest.approx(1.05)


def incomplete(*kept: tuple[float, tuple[int, ...]]) -> MethodCurve:
    """Return the baseline's curve in trainings with these factors of FID at these step counts."""
    rows = add_pooled_times(typed_table("trials", DataFrame(baseline())))
    each = [
        rows[rows["steps"].isin(steps)].assign(
            training=float(place), fid=lambda table, factor=factor: table["fid"] * factor
        )
        for place, (factor, steps) in enumerate(kept)
    ]
    members = pd.concat(each).assign(row_id=lambda table: table["trial_id"])
    of_each = members.groupby("trial_id")["fid"]
    return build_curve(rows.assign(fid=rows["trial_id"].map(of_each.mean())), THROUGHPUT, DataFrame(), members)


def test_a_training_without_all_points_of_the_line_does_not_count() -> None:
    # FID 200 / steps: 10.0 lies at 20 steps; the third training was run at 5 steps alone
    every = ((1.0, STEPS), (1.01, STEPS), (1.02, STEPS))
    whole = read_target(incomplete(*every), 9.0)
    found = read_target(incomplete(*every, (1.0, (5,))), 9.0)
    assert (found.state, found.reached, found.trainings) == (REACHED, 3, 3)
    assert (found.seconds, found.high) == (pytest.approx(whole.seconds), pytest.approx(whole.high))
    assert FEWER_TRAININGS.format(3, 1) in found.notes
    assert whole.notes == ()


def test_one_whole_training_is_read_alone_and_by_its_own_fids() -> None:
    curve = incomplete((1.0, STEPS), (3.0, (5, 40)))
    found = read_target(curve, 9.0)
    assert (found.state, found.trainings) == (REACHED, 1)
    assert found.seconds == pytest.approx(tables.SECONDS * 20 * (200 / 9.0) / 20)
    assert FEWER_TRAININGS.format(1, 1) in found.notes
    assert curve.fid == pytest.approx([40.0, 20.0, 10.0, 5.0])


def test_the_curve_has_the_points_of_its_first_training() -> None:
    curve = incomplete((1.0, (5, 10, 20)), (1.0, STEPS))
    assert curve.steps.tolist() == [5, 10, 20]
    assert curve.fid_by_training.shape == (2, 3)
    assert curve.left_out == 0


@pytest.mark.parametrize(
    "stored", ["no JSON", "7", "null", '{"a": 1}', '["a"]', "[true]", "[null, 3]", "[NaN]", "[-1.0]", "[" * 100_000]
)
def test_stored_targets_that_are_no_list_of_numbers_are_none(stored: str) -> None:
    assert read_targets(DataFrame({"fid_targets": [stored, "[3, 5.5]", ""]})) == (5.5, 3.0)
    assert read_targets(DataFrame({"fid_targets": [stored]})) == ()


def test_a_throughput_of_zero_gives_no_time() -> None:
    stopped = {"throughput_images_per_second": 0.0, "speedup": 0.0, "speedup_low": 0.0, "speedup_high": 0.0}
    quality = quality_of(*baseline(), *solver("stopped", 50.0, 1.0, **stopped))
    time = quality.times["unet-small:stopped", 10.0].by_measure[THROUGHPUT.name].time
    assert time.state == NOT_MEASURED
    rows = add_pooled_times(typed_table("trials", DataFrame(baseline())))
    assert not len(build_curve(rows.assign(pooled_seconds_per_image=math.inf), THROUGHPUT, DataFrame()).fid)


def test_without_targets_nothing_is_read() -> None:
    quality = quality_of(*baseline(), targets=())
    assert quality.times == {}
    assert quality.targets == ()
