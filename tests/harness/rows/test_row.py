"""Rows from outputs made by hand: every column is compared with what one computes on paper."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from kit.row_outputs import IMAGES, images, outputs, score, spec, timing

from harness.rows.row import failed_tables, finished_tables, timed_images
from harness.specs.audits import ImagesWork, TimedWork
from harness.specs.base import Output, Price
from harness.specs.prepare import PrepareOutput
from harness.specs.row import NetworkLimit
from harness.specs.sample import Distances, Refinement, SerialDistance
from harness.specs.score import Replicate
from harness.specs.time import VirtualTime
from harness.specs.weights import WeightsOutput


def tables(
    changes: dict[str, Output] | None = None, digests: dict[int, Any] | None = None, **fields: Any
) -> dict[str, list[dict[str, Any]]]:
    return finished_tables(spec(**fields), outputs(**(changes or {})), digests or {}, {"git_sha": "abc"})


def row(changes: dict[str, Output] | None = None, **fields: Any) -> dict[str, Any]:
    (found,) = tables(changes, **fields)["trials"]
    return found


def test_work_is_what_ran_times_its_cost_per_image() -> None:
    found = row()
    assert found["nfe"] == (4 + 2 + 4 + 2) / IMAGES
    assert found["flops_per_image"] == 2 * (4 * 10 + 10 + 4) / IMAGES
    assert found["nfe_critical_path"] == found["nfe"]
    assert found["flops_critical_path_per_image"] == found["flops_per_image"]
    assert (found["flop_coverage"], found["parameters"], found["network_time_share"]) == (1.0, 7, 0.75)
    assert found["duration_seconds"] == 2 + 2 + 1 + 4
    assert not {"iterations", "nfe_speculative", "distance_to_serial"} & set(found)


def test_no_time_spent_has_no_share() -> None:
    assert row({"a": images(seconds=0.0), "b": images(seconds=0.0)})["network_time_share"] is None


def test_steps_add_up_to_the_row() -> None:
    first, second = tables()["steps"]
    assert first == {
        "step": 0, "sigma": 4.0, "sigma_next": 2.0, "t": 1.0, "t_next": 0.5, "nfe": 2.0, "flops_per_image": 20.0,
        "network_share": 1.0, "units_json": '{"network":8}',
    }  # fmt: skip
    assert (second["step"], second["sigma"], second["sigma_next"], second["t_next"]) == (1, 2.0, 0.0, 0.0)
    assert (second["nfe"], second["flops_per_image"], second["network_share"]) == (1.0, 7.0, 0.7)
    assert second["units_json"] == '{"head":2,"network":2}'


def parallel(**counts: Any) -> dict[str, Output]:
    record = SerialDistance(
        distance_to_serial=0.125,
        refinements=[Refinement(refinement=0, distance_to_serial=0.5, change=None, images_open=2, images=2)],
    )
    each = {"critical": {0: 2.0, 1: 1.0}, "iterations": {3: 1, 5: 1}, "speculative": 6, "bytes_sent": 32, **counts}
    return {name: images(serial_distance=record, counts=each) for name in ("a", "b")}


def test_a_parallel_trial_has_a_critical_path_at_the_mean_cost_of_each_step() -> None:
    found = row(parallel())
    assert found["nfe_critical_path"] == 2 * (2 + 1) / IMAGES
    assert found["flops_critical_path_per_image"] == 2 * (2 * 10 + 1 * 7) / IMAGES
    assert (found["iterations"], found["iterations_most"]) == (4.0, 5)
    assert (found["nfe_speculative"], found["bytes_sent_per_image"]) == (3.0, 16.0)
    assert found["distance_to_serial"] == 0.125
    assert tables(parallel())["refinements"] == [
        {"refinement": 0, "distance_to_serial": 0.5, "change": None, "images_open": 2, "images": 2}
    ]


def test_a_parallel_trial_that_counted_neither_leaves_them_empty() -> None:
    found = row(parallel(critical={}, iterations={}))
    assert not {"nfe_critical_path", "flops_critical_path_per_image", "iterations", "iterations_most"} & set(found)


def test_times_are_medians_with_their_intervals_and_ratios_of_pairs() -> None:
    found = row()
    assert (found["latency_seconds"], found["latency_low_seconds"], found["latency_high_seconds"]) == (0.2, 0.1, 0.3)
    assert found["throughput_images_per_second"] == 31.25
    assert [found[name] for name in ("speedup", "speedup_low", "speedup_high")] == pytest.approx([1.5] * 3)
    assert (found["peak_memory_bytes"], found["energy_joules_per_image"], found["device_name"]) == (11, 0.5, "a chip")
    assert (found["timing_rounds"], found["timing_block_seconds"], found["warm_up_calls"]) == (7, 3.5, 2)
    assert "speedup_over_serial" not in found
    assert len(tables()["timings"]) == 28
    assert tables()["timings"][0]["seconds"] == 0.3


def virtual(devices: int, is_real: bool, seconds: float) -> VirtualTime:
    return VirtualTime(
        devices=devices, is_real=is_real, iterations=3.0, call_seconds=0.1, crowded_call_seconds=None, hop_seconds=None,
        serial_seconds=0.8, virtual_latency_seconds=seconds, measured_latency_seconds=None,
    )  # fmt: skip


def test_a_parallel_trial_is_timed_against_its_parts_under_the_serial_executor() -> None:
    timed = timing(("trial", "baseline", "serial"), virtual=[virtual(8, False, 0.05), virtual(2, True, 0.15)])
    found = row({"time": timed})
    assert found["serial_latency_seconds"] == 0.9
    assert found["speedup_over_serial"] == pytest.approx(4.5)
    assert found["speedup_over_serial_low"] <= 4.5 <= found["speedup_over_serial_high"]
    assert found["virtual_latency_seconds"] == 0.15
    assert [one["devices"] for one in tables({"time": timed})["virtual"]] == [8, 2]
    modelled = timing(("trial", "baseline", "serial"), virtual=[virtual(8, False, 0.05)])
    assert row({"time": modelled})["virtual_latency_seconds"] is None


def test_quality_is_the_scores_and_its_replicates_go_to_their_table() -> None:
    found = tables()
    assert {name: found["trials"][0][name] for name in ("fid", "kid", "fid_low", "fid_high")} == {
        "fid": 3.0, "kid": 0.5, "fid_low": 2.0, "fid_high": 4.0,
    }  # fmt: skip
    assert (found["trials"][0]["reference_n"], found["trials"][0]["images_sha256"]) == (9, "images")
    assert found["quality"] == [{"group": group, "fid": 2.75 + 0.5 * (group % 2)} for group in range(4)]


def test_the_difference_to_the_baseline_is_paired() -> None:
    found = row(baseline_score_id="base")
    assert found["fid_difference"] == 1.0
    half = 3.182446305284263 * np.sqrt(3 / 4 * 4 * 0.5**2)  # t of 3 degrees times the jackknife's error of +-0.5
    assert found["fid_difference_high"] - 1.0 == pytest.approx(half)
    assert 1.0 - found["fid_difference_low"] == pytest.approx(half)


def test_a_trial_whose_fid_depends_on_its_noise_is_not_valid() -> None:
    error = np.sqrt(3 / 4 * 4 * 0.25**2)  # the jackknife's of +-0.25 in four groups, on both sides
    within, beyond = 3.0 + 5.9 * error * np.sqrt(2), 3.0 + 6.1 * error * np.sqrt(2)
    for other, verdict in ((within, "VALID"), (beyond, "INVALID")):
        found = row({"other": score(other)}, other_seed_score_ids=("other", "not there"))
        assert found["verdict"] == verdict
    assert found["reasons"].startswith("seed-sets-disagree: FID differs by")
    without = {"other": score(9.0).model_copy(update={"replicates": []})}
    assert row(without, other_seed_score_ids=("other",))["verdict"] == "VALID"


@pytest.mark.parametrize(
    ("changes", "base"),
    [
        ({}, None),
        ({}, "score"),
        ({}, "not there"),
        ({"base": score(2.0).model_copy(update={"replicates": []})}, "base"),
        ({"base": score(2.0).model_copy(update={"replicates": score(2.0).replicates[:3]})}, "base"),
        ({"score": score(3.0).model_copy(update={"replicates": []})}, "base"),
        ({"score": score(3.0).model_copy(update={"replicates": [Replicate(group=0, figures={})]})}, "base"),
    ],
)  # fmt: skip
def test_without_equal_replicates_on_both_sides_there_is_no_difference(changes: dict[str, Output], base: str) -> None:
    assert "fid_difference" not in row(changes, baseline_score_id=base)


def test_errors_of_states_are_taken_over_the_images_of_all_tasks_in_order() -> None:
    first = Distances(squared_errors=[1.0, 3.0], squared_norms=[2.0, 2.0])
    second = Distances(squared_errors=[0.0, 5.0], squared_norms=[2.0, 3.0])
    shards: dict[str, Output] = {
        "a": images(distances={"truncation_error": first}),
        "b": images(distances={"truncation_error": second, "own_truncation_error": second}),
    }
    found = tables(shards)
    (trial,) = found["trials"]
    assert trial["truncation_error"] == 1.0
    assert trial["own_truncation_error"] == 1.0
    assert trial["truncation_images"] == 4
    assert trial["truncation_error_low"] < 1.0 < trial["truncation_error_high"]
    errors = [one.get("truncation_error") for one in found["quality"]]
    assert errors == pytest.approx([np.sqrt(8 / 7), np.sqrt(6 / 7), np.sqrt(9 / 7), np.sqrt(4 / 6)])
    assert [one.get("own_truncation_error") for one in found["quality"]] == pytest.approx(
        [np.sqrt(5 / 3), 0.0, None, None], nan_ok=True
    )
    assert [one["group"] for one in found["quality"]] == [0, 1, 2, 3]


def test_states_without_a_score_have_groups_too() -> None:
    shards: dict[str, Output] = {
        "a": images(distances={"truncation_error": Distances(squared_errors=[1.0, 3.0], squared_norms=[2.0, 2.0])})
    }
    given = {name: one for name, one in outputs(**shards).items() if name != "score"}
    found = finished_tables(spec(), given, {}, {})
    assert [one["group"] for one in found["quality"]] == [0, 1]
    assert found["trials"][0]["verdict"] == "INVALID"
    assert "fid" not in found["trials"][0]


def weights(agree: bool, price: Price | None = None) -> WeightsOutput:
    return WeightsOutput(
        price=price or Price(), counter_flops=20, deepspeed_macs=10, counters_agree=agree, sha256="sha"
    )


def priced(flops: float | None) -> dict[str, Output]:
    return {
        "weights": weights(True, Price(seconds=5.0, flops=flops)),
        "made": PrepareOutput(
            price=Price(seconds=2.0, flops=30.0),
            artifact={
                "returned": "the untuned network",
                "history": [{"round": 0, "candidate": {"depth": 3}, "fid": 9.0}],
                "calibration": [{"sigma": 1.0, "predicted": 0.5}],
            },
        ),
    }


def prepared() -> dict[str, Any]:
    sampler = spec().sampler
    model = sampler.model.model_copy(update={"weights_id": "weights"})
    return {
        "sampler": sampler.model_copy(
            update={"model": model, "schedule": sampler.schedule.model_copy(update={"artifact_id": "made"})}
        )
    }


def test_prices_of_weights_and_preparations_are_added() -> None:
    found = row(priced(70.0), **prepared())
    assert (found["prepare_seconds"], found["prepare_flops"], found["weights_sha256"]) == (7.0, 100.0, "sha")
    assert found["returned"] == "the untuned network"
    assert row(priced(None), **prepared())["prepare_flops"] is None
    free = row()
    assert (free["prepare_seconds"], free["prepare_flops"], free["weights_sha256"], free["returned"]) == (
        0.0,
        0.0,
        None,
        None,
    )


def test_what_preparing_left_goes_to_its_tables_with_its_part() -> None:
    found = tables(priced(70.0), **prepared())
    assert found["searches"] == [{"round": 0, "fid": 9.0, "part": "schedule", "candidate_json": '{"depth":3}'}]
    assert found["calibration"] == [{"sigma": 1.0, "predicted": 0.5, "part": "schedule"}]


def test_timed_batches_are_compared_with_the_scored_images_of_the_same_indices() -> None:
    digests = {index: np.full(32, index, dtype=np.uint8) for index in range(4)}
    sha = hashlib.sha256(digests[0].tobytes() + digests[1].tobytes()).hexdigest()
    work = ImagesWork(evaluations=6, units={"network": 5, "head": 1}, iterations={})
    batches = [
        TimedWork(kind="throughput", first=first, images=2, work=work, calls=1, images_sha256=sha, differences=[])
        for first in (0, 2)
    ]
    timed = timing(work=batches)
    assert timed_images(spec(), outputs(time=timed)) == {0, 1, 2, 3}
    (found,) = tables({"time": timed}, digests)["trials"]
    assert found["reasons"].startswith(
        "timed-images-differ: 1 of 2 timed batches are not the scored images: from image 2"
    )


def test_a_row_that_is_timed_in_another_training_has_its_times_and_none_of_its_repetitions() -> None:
    work = ImagesWork(evaluations=6, units={"network": 5, "head": 1}, iterations={})
    other = TimedWork(kind="throughput", first=0, images=2, work=work, calls=1, images_sha256="00", differences=[])
    given = outputs(time=timing(work=[other]), c=images(), d=images(cost=None))  # images of the timed training
    shared = spec(timed_sample_ids=("c", "d"), training=1)
    assert timed_images(shared, given) == frozenset()
    found = finished_tables(shared, given, {}, {})
    (here,) = found["trials"]
    assert (here["verdict"], here["reasons"], here["training"]) == ("VALID", "", 1)
    own = row()
    for name in ("latency_seconds", "speedup", "speedup_low", "throughput_images_per_second", "timing_rounds"):
        assert here[name] == own[name]
    assert here["duration_seconds"] == own["duration_seconds"] - 4
    assert (found["timings"], found["virtual"]) == ([], [])
    assert len(found["steps"]) == 2


def test_work_other_than_that_of_the_timed_training_is_a_reason() -> None:
    fewer = {"evaluations": {0: 4}, "units": {0: {"network": 4}}}
    given = outputs(c=images(counts=fewer), d=images(cost=None, counts=fewer))
    found = finished_tables(spec(timed_sample_ids=("c", "d"), training=1), given, {}, {})["trials"][0]
    assert found["verdict"] == "INVALID"
    assert found["reasons"].startswith("timed-work-differs: an image takes 27 FLOPs, in the training that was timed 20")


def test_what_a_fid_is_compared_with_is_in_the_row() -> None:
    limit = NetworkLimit(fid=1.5, low=1.0, high=2.0)
    found = row(network_limit=limit, fid_targets=(3.0, 1.5), equivalence_margin=0.25)
    assert [found[f"network_limit_fid{end}"] for end in ("", "_low", "_high")] == [1.5, 1.0, 2.0]
    assert (found["fid_targets"], found["equivalence_margin"]) == ("[3.0,1.5]", 0.25)
    assert (row()["fid_targets"], row()["network_limit_fid"]) == (None, None)


def test_the_verdict_hears_of_everything() -> None:
    assert (row()["verdict"], row()["reasons"], row()["status"]) == ("VALID", "", "finished")
    assert row(fid_band=(4.0, 4.5))["reasons"].startswith("baseline-out-of-band: the baseline's FID is 5")
    unlike = priced(70.0) | {"weights": weights(False)}
    assert row(unlike, **prepared())["reasons"].startswith("flop-counters-disagree")
    mute = score(3.0).model_copy(update={"figures": {}, "reasons": ["no FID: too few"]})
    assert row({"score": mute})["reasons"] == "no-fid: no FID: too few, expected an FID"
    assert row(tier="quick")["reasons"].startswith("timing-too-short: 7 rounds of 11")


def test_names_and_provenance_are_in_the_row() -> None:
    found = row()
    assert (found["suite"], found["dataset"], found["network"], found["steps"]) == ("mine", "gaussian", "analytic", 2)
    assert (found["denoiser"], found["schedule"], found["solver"], found["executor"]) == (
        "full",
        "edm",
        "ddim",
        "serial",
    )
    assert (found["n_images"], found["batch"], found["devices"], found["seed_set"]) == (IMAGES, 10, 1, 0)
    assert (found["timing_tier"], found["precision_dtype"], found["git_sha"]) == ("smoke", "float32", "abc")
    assert found["extractor"].startswith("pixels:")
    assert found["reference"].startswith("gaussian ")
    assert found["params_json"].startswith('{"denoiser":')


def test_a_failed_trial_says_why_or_that_its_images_are_none() -> None:
    (found,) = failed_tables(spec(), "out-of-memory", "too large", {}, {"git_sha": "abc"})["trials"]
    assert (found["status"], found["verdict"]) == ("failed", "INVALID")
    assert found["reasons"] == "failed(out-of-memory): too large"
    assert found["git_sha"] == "abc"
    bad = {"a": images(not_finite=1, first_not_finite=2)}
    (unsound,) = failed_tables(spec(), "error", "no images", bad, {})["trials"]
    assert (unsound["status"], unsound["verdict"]) == ("finished", "INVALID")
    assert unsound["reasons"].startswith("nan-samples: 1 of 4 images")
