"""A sound run end to end in this process: what its tables hold."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kit import toys
from kit.toy_runs import Run
from kit.toys import suite_file, trial

import harness
from harness.errors import UsageError
from harness.pools.local import LocalPool
from harness.schema import METRICS, TABLES
from harness.storage.sample_grid import read_pictures
from methods.schedules.edm import EDM

FLOPS = 4 * 16  # of one evaluation: distances to one mean of 16 values and their mixing, 2 per multiply-add


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a sound run of DDIM at 2 and 4 steps and of Heun at 2, which is as many evaluations as DDIM at 4."""
    folder = tmp_path_factory.mktemp("plain")
    return Run(suite_file(folder, trial(steps=4) + trial(solver="heun", steps=2)), folder / "results")


def test_every_trial_of_a_sound_suite_is_valid_at_its_first_attempt(plain: Run) -> None:
    assert set(plain.tables.trials["reasons"]) == {""}
    assert set(plain.tables.trials["attempt"]) == {1}
    assert plain.tables.all_valid
    assert plain.kinds == {"reference": 1, "sample": 5, "score": 3, "time": 3}


def test_a_valid_row_fills_every_column_that_this_machine_can_fill(plain: Run) -> None:
    row = plain.row("heun")
    may_be_empty = {
        "energy_joules_per_image", "idle_watts", "git_sha", "git_dirty", "peak_memory_bytes", "warm_up_memory_bytes",
        "control_of_trial_id", "weights_sha256", "returned",
    }  # fmt: skip
    of_suites_and_cards = {
        "network_limit_fid", "network_limit_fid_low", "network_limit_fid_high", "fid_targets", "equivalence_margin",
        "more_steps_in", "factors_json", "classes", "guidance", "decoder", "decoder_sha256", "decode_batch",
        "decode_seconds_per_image", "decode_flops_per_image",
    }  # fmt: skip
    of_gpus = {
        "peak_reserved_bytes", "device_memory_bytes", "neighbours_load", "clock_over_alone", "foreign_check",
        "foreign_share", "gpu_sharing", "throttled_share", "sm_clock_mhz", "temperature_celsius", "power_watts",
        "power_limit_watts", "power_capped_share",
    }  # fmt: skip
    of_longer_tiers, of_deployed_kernels = {"clock_trial_drift", "warm_up_steady"}, {"compile_seconds"}
    of_tuned_networks = {"own_truncation_error", "own_truncation_error_low", "own_truncation_error_high"}
    of_parallel_executors = {
        "nfe_speculative", "iterations", "iterations_most", "bytes_sent_per_image", "distance_to_serial",
        "serial_latency_seconds", "speedup_over_serial", "speedup_over_serial_low", "speedup_over_serial_high",
        "virtual_latency_seconds",
    }  # fmt: skip
    empty = {c.name for c in TABLES["trials"].columns if pd.isna(row[c.name])}
    always_empty = of_parallel_executors | of_tuned_networks | of_suites_and_cards
    always_empty |= of_gpus | of_longer_tiers | of_deployed_kernels
    # a row without acceleration is compared with no other
    of_pairs = {column.name for one in METRICS.values() if one.source == "pairs" for column in one.columns}
    always_empty |= of_pairs | {"lpips_sha256", "partner"}
    assert always_empty <= empty <= may_be_empty | always_empty
    assert row["nfe_critical_path"] == row["nfe"]
    assert row["reasons"] == ""
    assert (row["timing_tier"], row["precision_dtype"], row["batch"]) == ("smoke", "float32", 10)


@pytest.mark.parametrize(("method", "steps", "evaluations"), [("ddim", 2, 2), ("ddim", 4, 4), ("heun", 2, 4)])
def test_work_is_the_evaluations_times_the_formula(plain: Run, method: str, steps: int, evaluations: int) -> None:
    row = plain.row(method, steps)
    assert row["nfe"] == evaluations
    assert row["flops_per_image"] == row["flops_critical_path_per_image"] == evaluations * FLOPS
    assert (row["flop_coverage"], row["parameters"]) == (1.0, 0)


def test_truncation_error_is_that_of_theory(plain: Run) -> None:
    for steps in (2, 4):
        angles = np.arctan(EDM().levels(steps, 0.002, 80.0) / 0.2)
        expected = 1 - np.prod(np.cos(np.diff(angles)))
        assert plain.row("ddim", steps)["truncation_error"] == pytest.approx(expected, rel=1e-4)


def test_steps_of_a_trial_add_up_to_its_row(plain: Run) -> None:
    for row in (plain.row("ddim", 4), plain.row("heun")):
        steps = plain.of("steps", row).sort_values("step")
        assert list(steps["step"]) == list(range(row["steps"]))
        assert steps["nfe"].sum() == row["nfe"]
        assert steps["flops_per_image"].sum() == row["flops_per_image"]
        assert set(steps["network_share"]) == {1.0}
        np.testing.assert_array_equal(steps["sigma"][1:], steps["sigma_next"][:-1])
        assert (steps["sigma"].iloc[0], steps["sigma_next"].iloc[-1]) == (80.0, 0.002)
        for level, time in (("sigma", "t"), ("sigma_next", "t_next")):  # of the VP process with beta = 0.1 + 19.9 t
            np.testing.assert_allclose(0.1 * steps[time] + 9.95 * steps[time] ** 2, np.log1p(steps[level] ** 2))
        assert (steps["t"] > steps["t_next"]).all()


def test_timings_are_paired_in_every_round(plain: Run) -> None:
    timings = plain.of("timings", plain.row("heun"))
    by_round = timings.groupby(["block", "round"])[["kind", "role"]].apply(lambda g: sorted(map(tuple, g.to_numpy())))
    kinds = sorted((kind, role) for kind in ("latency", "throughput") for role in ("trial", "baseline"))
    assert all(found == kinds for found in by_round)
    assert len(by_round) >= 6
    for _, block in timings.groupby("block"):
        assert sorted(block["order"]) == list(range(len(block)))
    assert set(timings.loc[timings["kind"] == "latency", "batch"]) == {1}
    assert set(timings.loc[timings["kind"] == "throughput", "batch"]) == {10}
    assert len({tuple(g["role"] + g["kind"]) for _, g in timings.sort_values("order").groupby(["block", "round"])}) > 1


def test_time_columns_are_the_medians_of_the_repetitions(plain: Run) -> None:
    row = plain.row("heun")
    timings = plain.of("timings", row).query("is_counted")
    seconds = {key: g.sort_values("round")["seconds"].to_numpy() for key, g in timings.groupby(["kind", "role"])}
    assert row["latency_seconds"] == np.median(seconds["latency", "trial"])
    assert row["throughput_images_per_second"] == 10 / np.median(seconds["throughput", "trial"])
    ratios = seconds["throughput", "baseline"] / seconds["throughput", "trial"]
    assert row["speedup"] == np.median(ratios)
    assert row["speedup_low"] <= row["speedup"] <= row["speedup_high"]


def test_rows_name_the_clock_and_the_baseline_of_the_same_evaluations(plain: Run) -> None:
    clock, same = plain.row("ddim", 2)["trial_id"], plain.row("ddim", 4)["trial_id"]
    assert set(plain.tables.trials["clock_trial_id"]) == {clock}
    assert plain.row("heun")["baseline_trial_id"] == same
    assert list(plain.tables.trials.sort_values("nfe")["is_baseline"]).count(True) == 2
    assert plain.row("heun")["fid_difference"] == plain.row("heun")["fid"] - plain.row("ddim", 4)["fid"]
    assert pd.isna(plain.row("ddim", 4)["fid_difference"])


def test_quality_has_a_replicate_per_group(plain: Run) -> None:
    row = plain.row("ddim")
    assert sorted(plain.of("quality", row)["group"]) == list(range(20))
    assert row["fid_low"] < row["fid"] < row["fid_high"]


def test_every_trial_leaves_a_grid_of_pictures(plain: Run) -> None:
    for trial_id in plain.tables.trials["trial_id"]:
        pictures = read_pictures((plain.tables.folder / "samples" / f"{trial_id}.png").read_bytes())
        assert pictures is not None
        assert (len(pictures), *pictures.shape[2:]) == (32, 4, 4)


def test_the_first_trial_is_timed_as_soon_as_it_is_scored_and_the_others_in_a_later_turn(plain: Run) -> None:
    kinds = [unit.task.kind for unit in plain.pool.started]
    first = kinds.index("time")
    assert kinds[first - 1] == "score"
    assert kinds[:first].count("score") == 1
    assert kinds[-2:] == ["time"] * 2


def test_work_is_counted_image_by_image_for_what_really_ran(tmp_path: Path) -> None:
    with toys.registered(toys.Odd):
        run = Run(suite_file(tmp_path, trial(denoiser="toy-odd", steps=4)), tmp_path)
    row = run.row("toy-odd/ddim", 4)
    assert row["nfe"] == 4
    assert row["flops_per_image"] == 4 * FLOPS / 2
    assert set(run.of("steps", row)["network_share"]) == {0.5}
    assert set(run.of("steps", row)["units_json"]) == {'{"network":20}'}


@pytest.mark.parametrize("timed_batch", [5, 20])
def test_a_timing_batch_of_its_own_is_no_reason_to_doubt_the_images(tmp_path: Path, timed_batch: int) -> None:
    run = Run(suite_file(tmp_path, timing=f"batch = {timed_batch}"), tmp_path)
    assert run.row("ddim")["verdict"] == "VALID"
    throughput = run.tables.timings.query("kind == 'throughput'")
    assert set(throughput["batch"]) == {timed_batch}


@pytest.mark.parametrize("n_images", [17, 41])
def test_any_number_of_images_above_that_of_features_is_measured(tmp_path: Path, n_images: int) -> None:
    row = Run(suite_file(tmp_path), tmp_path, settings=[f"n_images={n_images}"]).row("ddim")
    assert row["verdict"] == "VALID"
    assert math.isfinite(row["fid"])


def test_too_few_images_are_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found n_images = 16 for the 16 features of pixels"):
        harness.run(suite_file(tmp_path), settings=["n_images=16"], results=tmp_path / "results", pool=LocalPool)
    assert not (tmp_path / "results").exists()


def test_seed_sets_are_trials_of_other_images(tmp_path: Path) -> None:
    run = Run(suite_file(tmp_path), tmp_path, seeds=2)
    digests = [run.row("ddim", seed_set=seeds)["images_sha256"] for seeds in (0, 1)]
    assert digests[0] != digests[1]
    assert run.kinds["reference"] == 1
