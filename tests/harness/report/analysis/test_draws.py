"""Draws of FIDs and times: fronts are as sure as they say, and intervals read in draws cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from kit import tables
from kit.trainings import leave_one_out, over_trainings
from pandas import DataFrame

from harness.report.analysis.derive import derive
from harness.report.analysis.draws import draw_log_fids
from harness.report.analysis.equal_quality import equal_quality_columns, read_log_time, read_log_times
from harness.report.analysis.pareto import front_probabilities, pareto_front

GROUPS, DRAWS = 20, 600
COMMON, OWN, TIMING = 0.04, 0.04, 0.03


def measured(
    rng: np.random.Generator, log_fid: np.ndarray, log_time: np.ndarray, trainings: int = 1, training: float = 0.0
) -> tuple[DataFrame, DataFrame, DataFrame]:
    """Return rows, members and replicates of what one run measures of rows with these truths [rows].

    Logs of FID have noise of images common to all rows and of each row's own, and a spread over
    trainings; logs of time have noise as wide as their intervals.
    """
    count, scale = len(log_fid), math.sqrt(GROUPS)
    groups = rng.normal(0, COMMON * scale, (1, 1, GROUPS)) + rng.normal(0, OWN * scale, (trainings, count, GROUPS))
    means, left_out = leave_one_out(groups)
    effect = log_fid + rng.normal(0, training, (trainings, count))
    fids, replicates = np.exp(effect + means), np.exp(effect[..., None] + left_out)

    time = np.exp(log_time + rng.normal(0, TIMING, count))
    columns = {"relative_time": time, "speedup": 1 / time}
    for name, end in (("_low", -1.96), ("_high", 1.96)):
        columns |= {f"relative_time{name}": time * math.exp(end * TIMING)}
        columns |= {f"speedup{name}": math.exp(end * TIMING) / time}
    ids = [f"{k:03d}" for k in range(count)]
    rows = DataFrame({"trial_id": ids, "network": "net", "fid": fids.mean(axis=0), "flops_per_image": 1.0, **columns})

    keys = [(k, row) for k in range(trainings) for row in range(count)]
    members = DataFrame({
        "trial_id": [f"{ids[row]}-{k}" for k, row in keys], "row_id": [ids[row] for _, row in keys],
        "training": [float(k) for k, _ in keys], "fid": [fids[k, row] for k, row in keys],
    })  # fmt: skip
    return rows, members, DataFrame([replicates[k, row] for k, row in keys], index=members["trial_id"])


@pytest.mark.parametrize(("trainings", "training"), [(1, 0.0), (3, 0.05)])
def test_a_front_is_as_sure_as_its_probability_says(trainings: int, training: float) -> None:
    """Of rows with a probability p, a share p is on the true front: by bins, over runs with random truths."""
    rng = np.random.default_rng(11)
    said, true = [], []
    for _ in range(150):
        log_fid, log_time = rng.normal(0, 0.15, (2, 8))
        rows, members, replicates = measured(rng, log_fid, log_time, trainings, training)
        said.append(front_probabilities(rows, draw_log_fids(rows, members, replicates, DRAWS), DRAWS)[0])
        true.append(pareto_front(log_time, log_fid))

    said_, true_ = np.concatenate(said), np.concatenate(true)
    assert said_.mean() == pytest.approx(true_.mean(), abs=0.05)
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)):
        here = (said_ >= low) & (said_ < high)
        assert here.sum() > 50
        assert true_[here].mean() == pytest.approx(said_[here].mean(), abs=0.1)


def test_a_bad_row_that_is_faster_by_noise_is_hardly_on_the_front() -> None:
    """FID 13.4 at 1.01 times the speed stands beside 4.93 on the front of point estimates."""
    source = over_trainings({"good": [4.93], "bad": [13.4]})
    source["trials"].loc[1, ["speedup", "speedup_low", "speedup_high"]] = [1.001, 0.96, 1.04]
    rows = derive(source).classes[0].rows.set_index("method")
    assert rows["pareto_time"].all()
    assert rows.loc["good", "pareto_time_probability"] == 1
    assert 0.3 < rows.loc["bad", "pareto_time_probability"] < 0.7
    assert rows.loc["bad", "pareto_flops_probability"] == 0


def test_paired_noise_makes_a_small_difference_sure() -> None:
    """Replicates swing by 5 % of FID in both rows alike, so 1 % between them is no matter of noise."""
    rows, members, _ = measured(np.random.default_rng(0), np.zeros(2), np.zeros(2))
    members["fid"] = rows["fid"] = [1.0, 1.01]
    swing = 1 + 0.05 * np.tile([1.0, -1.0], 10)
    together = DataFrame([swing, 1.01 * swing], index=members["trial_id"])
    apart = DataFrame([swing, 1.01 * swing[::-1]], index=members["trial_id"])
    shares = [
        front_probabilities(rows, draw_log_fids(rows, members, one, DRAWS), DRAWS)[1] for one in (together, apart)
    ]
    assert list(shares[0]) == [1, 0]
    assert 0.2 < shares[1][1] < 0.6


def test_rows_without_fid_or_time_have_no_probability() -> None:
    source = over_trainings({"good": [4.93], "untimed": [3.0], "unscored": [3.0]})
    source["trials"].loc[1, "speedup"] = None
    source["trials"].loc[2, "fid"] = None
    rows = derive(source).classes[0].rows.set_index("method")
    assert math.isnan(rows.loc["untimed", "pareto_time_probability"])
    assert rows.loc["untimed", "pareto_flops_probability"] == 1
    assert math.isnan(rows.loc["unscored", "pareto_flops_probability"])


CURVE = np.log([0.25, 0.5, 1.0, 2.0])


def read_run(rng: np.random.Generator, fid: float, trainings: int, training: float) -> dict:
    """Return the columns that one run gives a row of this true FID at time 0.25; the curve is 12 / time."""
    log_fid = np.append(math.log(12) - CURVE, math.log(fid))
    rows, members, replicates = measured(rng, log_fid, np.append(CURVE, CURVE[0]), trainings, training)
    return equal_quality_columns(rows.iloc[4], rows.iloc[:4], draw_log_fids(rows, members, replicates, DRAWS))


@pytest.mark.parametrize(("trainings", "training", "most"), [(1, 0.0, 0.985), (3, 0.04, 1.0)])
def test_the_interval_of_a_speedup_at_equal_quality_covers_it(trainings: int, training: float, most: float) -> None:
    rng = np.random.default_rng(12)
    runs = [read_run(rng, 16.0, trainings, training) for _ in range(200)]
    name = "equal_quality_speedup"
    inside = [not (one[f"{name}_low"] > 3.0 or one[f"{name}_high"] < 3.0) for one in runs]
    assert 0.915 <= np.mean(inside) <= most


@pytest.mark.parametrize(("fid", "column", "end"), [(6.2, "at_least", "low"), (47.0, "at_most", "high")])
def test_a_bound_comes_with_an_end_that_covers(fid: float, column: str, end: str) -> None:
    """The true FID lies just inside the curve, so every bound is wrong by itself: noise moved a FID beyond the end."""
    rng = np.random.default_rng(13)
    runs = [read_run(rng, fid, 1, 0.0) for _ in range(300)]
    name, truth = "equal_quality_speedup", 12 / fid / 0.25
    bounds = [one for one in runs if not math.isnan(one[f"{name}_{column}"])]
    assert len(bounds) > 60

    sign = 1 if end == "low" else -1
    alone = [sign * one[f"{name}_{column}"] <= sign * truth for one in bounds]
    held = [sign * one[f"{name}_{end}"] <= sign * truth for one in bounds]
    assert np.mean(alone) < 0.5
    assert np.mean(held) >= 0.9


def test_many_curves_are_read_as_one_by_one() -> None:
    rng = np.random.default_rng(14)
    time, log_fids, at = rng.uniform(1, 9, 6), rng.normal(0, 1, (300, 6)), rng.normal(0, 1.2, 300)
    found, side = read_log_times(time, log_fids, at)
    for k in range(300):
        one = read_log_time(time, np.exp(log_fids[k]), math.exp(at[k]))
        assert found[k] == pytest.approx(one.log_time, abs=1e-9)
        assert {1: ">=", -1: "<=", 0: ""}[int(side[k])] == one.side


def test_without_an_interval_there_is_no_bound() -> None:
    trials = [tables.row("ddim", n, 12 / (n / 20), n / 20, is_baseline=True) for n in (5, 10, 20)]
    trials.append(tables.row("fast", 8, 3.0, 0.25))
    row = derive({"trials": DataFrame(trials)}).classes[0].rows.set_index("method").loc["fast"]
    assert math.isnan(row["equal_quality_speedup_at_least"])
    assert "no bound without its interval" in row["equal_quality_speedup_note"]
