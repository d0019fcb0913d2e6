"""Each rule fires with its reason, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from kit.log_kit import Logged

from harness.rows.evidence import TrialEvidence
from harness.rows.rules import RULES, judge, rule_name
from harness.specs.audits import BatchWork, CopyFigures, CountedWork, ImagesWork, Probe, RepeatedCalls, TimedWork
from harness.specs.row import Expectation
from harness.specs.sample import Cost, SampleOutput

ROW = {
    "dataset": "gaussian", "method": "ddim", "steps": 4, "n_images": 20, "fid": 1.5, "flop_coverage": 1.0,
    "timing_tier": "quick", "timing_rounds": 11, "timing_block_seconds": 2.0, "warm_up_calls": 3,
    "nfe": 4.0, "flops_per_image": 40.0, "throughput_batch": 10, "fid_least": 1.0,
}  # fmt: skip
NOTHING = {"evaluations": {}, "units": {}, "iterations": {}, "critical": {}, "speculative": 0, "bytes_sent": 0}
ON_GPU = {
    "foreign_check": "processes", "foreign_share": 0.0, "throttled_share": 0.0, "clock_trial_drift": 0.03,
    "clock_over_alone": 1.05, "timed_alone": "device", "temperature_celsius": 83.0,
}  # fmt: skip
COST = Cost(units={"network": 10, "head": 4}, network=10, coverage=1.0, parameters=7, sigmas=[1.0, 0.0], times=[1, 0])


def work(evaluations: int | None = 40, **units: int) -> ImagesWork:
    return ImagesWork(evaluations=evaluations, units=units or {"network": 40}, iterations={})


def repeats(seconds: float = 1.0, again: int = 80) -> RepeatedCalls:
    return RepeatedCalls(new_flops=80, repeated_flops=again, new_seconds=seconds, timed_seconds=1.0)


def batch(first: int, **units: int) -> BatchWork:
    return BatchWork(first=first, images=10, work=work(**units))


def counted(seen: int = 240, name: str = "float32", **units: int) -> CountedWork:
    return CountedWork(units=units or {"network": 24}, operator_flops={name: seen})


def probe(**changes: Any) -> Probe:
    known = {"indices": [3, 7], "reordered": [1e-6, 2e-6], "noise_change": 1e-4, "work": counted()}
    known |= {"estimate_change": 0.01, "estimate_changes": [0.01, 0.02]}
    known |= {"scored_errors": [0.1, 0.2, 0.3], "fresh_errors": [0.2, 0.3, 0.4]}
    return Probe(**{**known, "changes": [1e-4, 3e-4], **changes})


def timed(kind: str = "throughput", **changes: Any) -> TimedWork:
    known: dict[str, Any] = {"kind": kind, "first": 0, "calls": 11, "images": 10, "work": work()}
    known |= {"images_sha256": "same", "differences": []}
    if kind == "latency":
        known |= {"images": 1, "images_sha256": "", "differences": [0.1] * 11, "work": work(4, network=4)}
    return TimedWork(**{**known, **changes})


SOUND: dict[str, Any] = {
    "not_finite": 0, "first_not_finite": None, "constant": 0, "wrong_shape": None, "seconds": 1.0,
    "network_seconds": 1.0, "counts": NOTHING, "cost": COST, "probes": [probe()],
}  # fmt: skip
VARYING = [{"batches": [batch(0, network=30)]}, {"batches": [batch(10, network=50)]}]
"""Images of unequal work, by their batches: 3 and 5 runs of the network each."""


def refined(evaluations: int, **iterations: int) -> ImagesWork:
    """Return the work of images by their refinements, such as two=6."""
    counts = {{"one": 1, "two": 2, "three": 3}[name]: images for name, images in iterations.items()}
    return ImagesWork(evaluations=evaluations, units={"network": evaluations}, iterations=counts)


REFINING = [{"batches": [BatchWork(first=first, images=10, work=refined(40, two=6, three=4))]} for first in (0, 10)]
"""Batches that were refined until their last image had converged: all images in three refinements, some needed two."""


def checks_of(row: dict[str, Any] | None = None, shards: list[dict[str, Any]] | None = None, **known: Any) -> Any:
    own = [{"batches": [batch(0)]}, {"batches": [batch(10)]}]
    pairs = zip(own, shards or own, strict=True)
    given = [SampleOutput.model_validate({**SOUND, **start, **shard}) for start, shard in pairs]
    usual = {
        "counters_agree": True, "clock_fid": 1.0, "timed": [timed(), timed("latency")], "ratio": 4.0,
        "scored_sha256": {(0, 10): "same"}, "counted_batch": counted(400, network=40),
        "copies": CopyFigures(rate=0.02, highest=0.1, images=20),
    }  # fmt: skip
    return judge(TrialEvidence({**ROW, **(row or {})}, given, **{**usual, **known}))


def broken(**given: Any) -> list[str]:
    return [one.reason for one in checks_of(**given) if one.finding.holds is False]


def known(value: float, **changes: Any) -> Expectation:
    entry = {"dataset": "gaussian", "method": "ddim", "steps": 4, "column": "fid", "value": value, "source": "theory"}
    return Expectation(**{**entry, **changes})


def apart(error: float, *levels: float) -> dict[str, Any]:
    """Return the distances of one image to its exact solution, and to another's at distance 1, on a grid."""
    one = {"squared_errors": [error**2], "squared_norms": [1.0], "squared_mismatches": [1.0]}
    cost = {"cost": COST.model_copy(update={"sigmas": list(levels)})} if levels else {}
    return {"distances": {"truncation_error": one}, **cost}


@pytest.mark.parametrize(
    "sound",
    [
        {},
        {"timed": []},
        {"counters_agree": None},
        {"row": {"flops_per_image": 7.0}, "timed_flops": 7.0},
        {"row": {"flops_per_image": 7.0}, "timed_flops": None},
        {"shards": [{"constant": 5}, {"constant": 5}]},
        {"band": (1.0, 1.0)},
        {"band": (0.5, 2.0)},
        {"expectations": [known(1.4, absolute=0.1000001)]},
        {"expectations": [known(1.6, relative=0.07)]},
        {"expectations": [known(1.9, absolute=0.21, noise_at=80)]},  # a quarter of the images, twice the noise
        {"expectations": [known(1.4, per_image=2.0, absolute=1e-9)]},
        {"expectations": [known(9.0, method="heun"), known(9.0, steps=5), known(9.0, dataset="digits")]},
        {"row": {"fid": 1.0}},
        {"copies": None},
        {"copies": CopyFigures(rate=0.1, highest=0.1, images=20)},
        {"row": {"nfe": 5.0}, "shards": [apart(0.75, 80, 9, 7, 6, 5, 0.1), {}]},
        {"row": {"nfe": 5.0}, "shards": [apart(0.98, 80, 60, 40, 20, 7, 0.1), {}]},  # a coarse grid
        {"shards": [apart(0.98), {}]},
        {"shards": [apart(1.0), {}], "row": {"steps": 1}},
        {"shards": [{"cost": COST.model_copy(update={"network": 0})}, {}], "row": {"nfe": 0.0}},
        {
            "precision": "bfloat16",
            "counted_batch": counted(400, "bfloat16", network=40),
            "shards": [{"probes": []}] * 2,
        },
        {"timed": [timed(), timed("latency", differences=[0.5])]},
        {"shards": VARYING, "timed": [timed("latency", differences=[9.0] + [0.0] * 9)]},  # one decision in ten
        {"shards": VARYING, "timed": [timed("latency", work=work(4, network=6))]},  # images differ that much
        {
            "shards": REFINING,
            "timed": [timed("latency", work=refined(3, two=1)), timed("latency", work=refined(4, three=1))],
        },
        {"shards": [{"probes": [probe(fresh_errors=[0.44, 0.8, 0.8])]}, {}]},
        {"shards": [{"probes": [probe(fresh_errors=[0.05, 0.1], scored_errors=[0.01, 0.01])]}, {}]},
        {"shards": [{"probes": [probe(estimate_changes=[0.003, 0.003])]}, {}]},
        {"copies": CopyFigures(rate=0.02, highest=0.1, images=20, median_ratio=0.8)},
        {"new_images_ratio": 3.0, "over_units": 3.0},
        {"repeats": {"throughput": repeats(), "latency": repeats(seconds=1.25)}},
        {"ratio": 0.5},
        {"ratio": 20.0},
        {"row": ON_GPU},
        {"seed_differences": [(1.19, 0.2), (-1.19, 0.2)]},
        {"row": {"clock_trial_drift": 0.2}},  # on a CPU it is recorded alone
        {"row": {**ON_GPU, "clock_over_alone": 1.5}, "on_clocks_node": False},
    ],
    ids=str,
)
def test_a_sound_trial_breaks_no_rule(sound: dict[str, Any]) -> None:
    assert broken(**sound) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            {"shards": [{}, {"not_finite": 2, "first_not_finite": 13}]},
            "nan-samples: 2 of 20 images hold NaN or infinity, the first is image 13, expected none",
        ),
        ({"shards": [{"constant": 6}, {"constant": 5}]}, "constant-images: 11 of 20"),
        ({"shards": [{"wrong_shape": [9, 1, 4, 4]}, {}]}, "wrong-shape: the sampler returned [9, 1, 4, 4]"),
        ({"row": {"fid": None}, "quality_reasons": ["too few images"]}, "no-fid: too few images"),
        ({"row": {"fid": None}}, "no-fid: the images could not be scored"),
        ({"row": {"fid": 0.99}}, "fid-below-floor: FID 0.99, expected at least 1"),
        (
            {"seed_differences": [(0.1, 0.2), (-1.21, 0.2)]},
            "seed-sets-disagree: FID differs by 1.21 from that of another seed set, expected at most 1.2",
        ),
        ({"copies": CopyFigures(rate=0.11, highest=0.1, images=20)}, "copies-training-images: 11.0% of 20 images"),
        ({"shards": [apart(0.99), {}]}, "leaves-the-flow: a truncation error of 0.99"),
        ({"row": {"nfe": 5.0}, "shards": [apart(0.99, 80, 60, 40, 20, 7, 0.1), {}]}, "leaves-the-flow: "),
        ({"row": {"nfe": 5.0}, "shards": [apart(0.76, 80, 60, 40, 7, 6, 0.1), {}]}, "leaves-the-flow: "),
        (
            {"shards": [{"probes": [probe(reordered=[1e-6, 0.3])]}, {}]},
            "depends-on-batch: 1 of 4 images made again in other company differ, by up to 0.3",
        ),
        (
            {"shards": [{"probes": [probe(changes=[0.0, 0.0])]}, {}]},
            "answers-from-noise: a change of the noise by 0.0001",
        ),
        ({"shards": [{"probes": [probe(changes=[0.3, 0.4])]}, {}]}, "answers-from-noise: "),
        (
            {"shards": [{"counts": {**NOTHING, "units": {0: {"network": 3, "tail": 1}}}}, {}]},
            "unknown-units: units that ran: tail, expected units of the denoiser: head, network",
        ),
        (
            {"shards": [{"probes": [probe(fresh_errors=[0.46, 0.9, 0.9])]}, {}]},
            "worse-on-new-noise: a distance to the flow of at least 0.46 for new noise, at most 0.3 for",
        ),
        (
            {"shards": [{"probes": [probe(estimate_changes=[0.0, 0.0029])]}, {}]},
            "ignores-the-network: a change of all estimates by 0.01 changes images by 0.29 times that",
        ),
        (
            {"copies": CopyFigures(rate=0.02, highest=0.1, images=20, median_ratio=0.79)},
            "nears-training-images: half of the images are nearer than 0.79",
        ),
        ({"counted_batch": counted(399, network=40)}, "work-not-done: operators did 399 FLOPs where 400 were counted"),
        ({"new_images_ratio": 3.1}, "remembers-images: new images take 3.1 times as long as the timed ones"),
        (
            {"repeats": {"latency": repeats(seconds=1.3)}},
            "remembers-images: in latency, new images take 1.3 times as long as images made before, expected at most",
        ),
        (
            {"repeats": {"throughput": repeats(), "latency": repeats(again=0)}},
            "remembers-images: in latency, new images take 80 FLOPs, the same again 0, expected as many",
        ),
        ({"over_units": 3.1}, "uncounted-time: a batch takes 3.1 times as long as the units that it reports"),
        ({"weights_changed": True}, "weights-changed: the weights of the network are others after the task"),
        ({"shards": [{"weights_changed": True}, {}]}, "weights-changed"),
        ({"row": {"nfe": 0.0}}, "no-network-calls: 0 evaluations and 40 FLOPs an image"),
        ({"row": {"flops_per_image": 0.0}}, "no-network-calls: 4 evaluations and 0 FLOPs an image"),
        (
            {"counted_batch": counted(401, network=40)},
            "uncounted-flops: operators did 401 FLOPs where 400 were counted",
        ),
        ({"shards": [{"probes": [probe(work=counted(241))]}, {}]}, "uncounted-flops: operators did 241 FLOPs"),
        ({"counted_batch": counted(400, "bfloat16", network=40)}, "other-precision: FLOPs in 100% bfloat16"),
        ({"counters_agree": False}, "flop-counters-disagree"),
        ({"row": {"flop_coverage": 0.875}}, "flop-coverage: the counter saw 87.5%"),
        ({"timed": [timed(images_sha256="other")]}, "timed-images-differ: 1 of 1 timed batches are not the scored"),
        (
            {"timed": [timed(first=5)]},
            "timed-images-differ: 1 of 1 timed batches are not the scored images: from image 5",
        ),
        (
            {"timed": [timed("latency", differences=[0.0, 0.6])]},
            "timed-alone-differs: 1 of 2 images differ from those of a batch, by up to 0.6",
        ),
        (
            {"timed": [timed(work=work(39))]},
            "timed-evaluations-differ: 1 of 1 timed batches did other work: throughput from image 0 on ran 3.9",
        ),
        ({"timed": [timed("latency", work=work(3, network=4))]}, "timed-evaluations-differ: 1 of 1 kinds of call"),
        (
            {"timed": [timed("latency", work=work(4, network=3, head=1))]},
            "timed-evaluations-differ: 1 of 1 kinds of call",
        ),
        (
            {"shards": VARYING, "timed": [timed("latency", calls=400, work=work(4, network=2))]},
            "timed-evaluations-differ: 2 network an image in timed calls, expected 4 within",
        ),
        (
            {"shards": REFINING, "timed": [timed("latency", work=refined(2, two=1))]},  # less than in proportion
            "timed-evaluations-differ: 1 of 1 kinds of call did other work: latency from image 0 on ran 2 evaluations "
            "an image (2 network), expected 4 evaluations an image in 3 refinements, in fewer no less than in",
        ),
        ({"shards": REFINING, "timed": [timed("latency", work=refined(5, two=1))]}, "timed-evaluations-differ: 1 of 1"),
        (
            {"shards": REFINING, "timed": [timed("latency", work=refined(3, three=1))]},
            "timed-evaluations-differ: 1 of 1",
        ),
        (
            {"shards": REFINING, "timed": [timed("latency", work=work(3, network=3))]},
            "timed-evaluations-differ: 1 of 1",
        ),
        (
            {"row": {"flops_per_image": 7.0}, "timed_flops": 8.0},
            "timed-work-differs: an image takes 7 FLOPs, in the training that was timed 8, expected as many",
        ),
        ({"ratio": 0.49}, "latency-contradicts-throughput: a call with 10 images takes 0.49 times as long"),
        ({"ratio": 20.1}, "latency-contradicts-throughput: a call with 10 images takes 20.1 times as long"),
        ({"row": {"timing_rounds": 10}}, "timing-too-short: 10 rounds of 11, expected what the tier quick demands"),
        (
            {"row": {"timing_block_seconds": 1.25, "warm_up_calls": 2}},
            "timing-too-short: 1.25 seconds of 2, 2 warm-up calls of 3, expected what the tier quick demands",
        ),
        (
            {"row": {**ON_GPU, "foreign_share": 0.25}},
            "foreign-process: 25% of the readings found another process, by processes, expected none",
        ),
        (
            {"row": {**ON_GPU, "throttled_share": 0.02}},
            "throttled: 2% of the readings found the GPU throttled, at up to 83 °C, expected none",
        ),
        (
            {"row": {**ON_GPU, "clock_trial_drift": -0.041}},
            "clock-drifts: its seconds moved by -4.1%, expected at most",
        ),
        (
            {"row": {**ON_GPU, "clock_over_alone": 1.06}},
            "slowed-by-neighbours: beside its neighbours the clock takes 1.06 times as long as alone, expected at most",
        ),
        ({"band": (0.2, 0.9)}, "baseline-out-of-band: the baseline's FID is 1, expected 0.2 to 0.9"),
        ({"band": (1.1, 2.0)}, "baseline-out-of-band"),
        ({"expectations": [known(1.7, absolute=0.1)]}, "known-answer: fid is 1.5, expected 1.7 within 0.1 (theory)"),
        ({"expectations": [known(1.5, column="kid")]}, "known-answer: kid is None"),
        (
            {"expectations": [known(1.9, absolute=0.19, noise_at=80)]},
            "known-answer: fid is 1.5, expected 1.9 within 0.38",
        ),
    ],
    ids=str,
)
def test_one_fault_is_one_reason(fault: dict[str, Any], reason: str) -> None:
    (found,) = broken(**fault)
    assert found.startswith(reason)


def test_all_reasons_are_given_in_the_order_of_the_rules() -> None:
    found = broken(shards=[{"constant": 20}, {}], counters_agree=False)
    assert [reason.partition(":")[0] for reason in found] == ["constant-images", "flop-counters-disagree"]


def test_what_could_not_be_tried_is_no_fault_and_says_why() -> None:
    shards = [{"probes": []}, {"probes": []}]
    found = {one.rule: one.finding.found for one in checks_of(shards=shards) if one.finding.holds is None}
    assert found == {"depends-on-batch": "no image was made again"}
    several = timed(work=work(None, network=0), images_sha256="")
    found = {one.rule: one.finding.found for one in checks_of(timed=[several]) if one.finding.holds is None}
    assert found["timed-images-differ"] == "no timed batch is a scored one"


def test_what_a_gpu_does_not_tell_is_not_tried() -> None:
    silent = {**ON_GPU, "foreign_check": "none", "foreign_share": None, "throttled_share": None}
    found = {one.rule: one.finding.found for one in checks_of(row=silent) if one.finding.holds is None}
    assert found == {
        "foreign-process": "NVML tells nothing of other processes, and torch nothing of memory",
        "throttled": "NVML does not tell why the GPU's clock is what it is",
    }
    elsewhere = checks_of(row=ON_GPU, on_clocks_node=False)
    (found_there,) = [one.finding for one in elsewhere if one.rule == "slowed-by-neighbours"]
    assert (found_there.holds, found_there.found) == (None, "the clock was timed alone on another node")
    (lost,) = [one.finding for one in checks_of(row={"timed_alone": "device"}) if one.rule == "slowed-by-neighbours"]
    assert (lost.holds, lost.found) == (None, "the clock has no timing of its own")


def test_on_a_cpu_no_rule_of_gpus_applies() -> None:
    of_gpus = {"foreign-process", "throttled", "clock-drifts", "slowed-by-neighbours"}
    assert not of_gpus & {one.rule for one in checks_of()}
    assert of_gpus <= {one.rule for one in checks_of(row=ON_GPU)}


def test_calls_of_devices_that_wait_for_each_other_are_not_compared() -> None:
    assert broken(row={"devices": 2}, ratio=0.4) == []
    found = {one.rule: one.finding.found for one in checks_of(row={"devices": 2}, ratio=0.4)}
    assert found["latency-contradicts-throughput"].startswith("its devices wait for each other")
    assert broken(ratio=0.4) != []


def test_time_of_devices_that_wait_for_each_other_is_not_compared_with_their_units() -> None:
    assert broken(row={"devices": 2}, over_units=4.4) == []
    found = {one.rule: one.finding.found for one in checks_of(row={"devices": 2}, over_units=4.4)}
    assert found["uncounted-time"] == "its devices wait for each other, so a batch takes longer than the units"


def test_one_batch_in_which_a_unit_ran_for_some_images_alone_is_of_unequal_work() -> None:
    """A rule that goes by the image may be scored in a single batch: 37 of 40 calls ran whole there."""
    shards = [SampleOutput.model_construct(batches=[BatchWork(first=0, images=10, work=one)])
              for one in (work(40, full=37, cached=3), work(40, full=30, cached=10))]  # fmt: skip
    assert [TrialEvidence(ROW, [shard]).equal_work for shard in shards] == [False, True]


def test_every_check_is_logged_with_what_was_found_and_expected(logged: Logged) -> None:
    logged.setLevel("DEBUG")
    import logging

    logger = logging.getLogger("oneclock")
    logger.setLevel("DEBUG")
    found = checks_of()
    said = [line for line in logged.messages if line.startswith("rule ")]
    assert len(said) == len(found)
    assert "rule flop-coverage holds: found the counter saw 100.0% of the matrix parameters run; expected all" in said


def test_every_rule_is_named_as_its_function_and_has_a_sentence() -> None:
    names = [rule_name(rule) for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(rule.__doc__ for rule in RULES)
