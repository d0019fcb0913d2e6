"""Every rule is tripped on purpose, alone, gives its name first, and logs what it found and what it expected."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
from kit import cheats

from harness.rows.evidence import TrialEvidence
from harness.rows.rules import RULES, judge, rule_name
from harness.specs.audits import BatchWork, CopyFigures, CountedWork, ImagesWork, Probe, TimedWork
from harness.specs.row import Expectation
from harness.specs.sample import Cost, Counts, Distances, SampleOutput

ROW = {
    "dataset": "digits", "method": "ddim", "steps": 4, "n_images": 20, "fid": 5.0, "fid_least": 2.5,
    "reference_n": 60, "kid": 0.5, "nfe": 4.0, "flops_per_image": 400.0, "flop_coverage": 1.0, "throughput_batch": 10,
    "timing_tier": "quick", "timing_rounds": 11, "timing_block_seconds": 2.0, "warm_up_calls": 3,
    "foreign_check": "processes", "foreign_share": 0.0, "throttled_share": 0.0, "clock_trial_drift": 0.01,
    "clock_over_alone": 1.02, "timed_alone": "device", "temperature_celsius": 61.0,
}  # fmt: skip
COUNTS = Counts(evaluations={}, units={}, iterations={}, critical={}, speculative=0, bytes_sent=0)
COST = Cost(units={"network": 100}, network=100, coverage=1.0, parameters=9, sigmas=[2.0, 1.0], times=[0.9, 0.5])
WORK = ImagesWork(evaluations=40, units={"network": 40}, iterations={})
"""Of ten images."""
ALONE = ImagesWork(evaluations=4, units={"network": 4}, iterations={})
COUNTED = CountedWork(units={"network": 28}, operator_flops={"float32": 2800})
PROBE = Probe(
    indices=[3, 1, 2], reordered=[1e-6] * 3, noise_change=1e-4, changes=[2e-4, 3e-4, 4e-4], work=COUNTED,
    estimate_change=0.01, estimate_changes=[0.01, 0.012, 0.02], scored_errors=[0.2, 0.3, 0.4],
    fresh_errors=[0.2, 0.4, 0.5],
)  # fmt: skip
SHARD = SampleOutput(
    seconds=1.0, network_seconds=0.9, counts=COUNTS, not_finite=0, first_not_finite=None, constant=0, wrong_shape=None,
    distances={"truncation_error": Distances(squared_errors=[0.1], squared_norms=[1.0], squared_mismatches=[1.0])},
    cost=COST, batches=[BatchWork(first=0, images=10, work=WORK), BatchWork(first=10, images=10, work=WORK)],
    probes=[PROBE],
)  # fmt: skip
TIMED = TimedWork(kind="throughput", first=0, images=10, work=WORK, calls=3, images_sha256="aa", differences=[])
LATENCY = TimedWork(kind="latency", first=0, images=1, work=ALONE, calls=3, images_sha256="", differences=[0.01])
KNOWN = Expectation(dataset="digits", method="ddim", steps=4, column="kid", value=0.5, absolute=0.1, source="theory")
SOUND = TrialEvidence(
    row=ROW,
    shards=[SHARD],
    copies=CopyFigures(rate=0.01, highest=0.1, images=20),
    counters_agree=True,
    band=(1.0, 9.0),
    clock_fid=5.0,
    timed_flops=400.0,
    expectations=[KNOWN],
    timed=[TIMED, LATENCY],
    scored_sha256={(0, 10): "aa"},
    counted_batch=CountedWork(units={"network": 40}, operator_flops={"float32": 4000}),
    ratio=4.0,
    new_images_ratio=1.1,
    seed_differences=[(0.3, 0.2)],
    over_units=1.2,
)


def with_row(**values: Any) -> dict[str, Any]:
    return {"row": {**ROW, **values}}


def with_shard(**values: Any) -> dict[str, Any]:
    return {"shards": [SHARD.model_copy(update=values)]}


def with_probe(**values: Any) -> dict[str, Any]:
    return with_shard(probes=[PROBE.model_copy(update=values)])


def with_counted(**values: Any) -> dict[str, Any]:
    return {"counted_batch": CountedWork(**{"units": {"network": 40}, "operator_flops": {"float32": 4000}, **values})}


def far_from_flow() -> dict[str, Any]:
    far = Distances(squared_errors=[0.99], squared_norms=[1.0], squared_mismatches=[1.0])
    return with_shard(distances={"truncation_error": far})


FAULTS: dict[str, dict[str, Any]] = {
    "wrong-shape": with_shard(wrong_shape=[9, 1, 8, 8]),
    "nan-samples": with_shard(not_finite=2, first_not_finite=13),
    "constant-images": with_shard(constant=11),
    "no-fid": with_row(fid=None),
    "fid-below-floor": with_row(fid=2.0),
    "seed-sets-disagree": {"seed_differences": [(0.1, 0.2), (-1.3, 0.2)]},
    "copies-training-images": {"copies": CopyFigures(rate=0.11, highest=0.1, images=20)},
    "nears-training-images": {"copies": CopyFigures(rate=0.01, highest=0.1, median_ratio=0.79, images=20)},
    "leaves-the-flow": far_from_flow(),
    "depends-on-batch": with_probe(reordered=[1e-6, 1e-6, 0.02]),
    "answers-from-noise": with_probe(changes=[0.0, 0.0, 0.0]),
    "worse-on-new-noise": with_probe(fresh_errors=[0.7, 1.3, 1.4]),
    "ignores-the-network": with_probe(estimate_changes=[0.0, 0.0, 0.01]),
    "weights-changed": with_shard(weights_changed=True),
    "no-network-calls": with_row(nfe=0.0),
    "unknown-units": with_shard(counts=COUNTS.model_copy(update={"units": {0: {"network": 39, "tail": 1}}})),
    "uncounted-flops": with_counted(operator_flops={"float32": 4001}),
    "work-not-done": with_counted(operator_flops={"float32": 3999}),
    "other-precision": with_counted(operator_flops={"float32": 100, "bfloat16": 3900}),
    "flop-counters-disagree": {"counters_agree": False},
    "flop-coverage": with_row(flop_coverage=0.99),
    "timed-images-differ": {"scored_sha256": {(0, 10): "ab"}},
    "timed-alone-differs": {"timed": [TIMED, LATENCY.model_copy(update={"differences": [0.01, 1.01]})]},
    "timed-evaluations-differ": {
        "timed": [TIMED, LATENCY.model_copy(update={"work": ALONE.model_copy(update={"evaluations": 3})})]
    },
    "timed-work-differs": {"timed_flops": 399.0},
    "latency-contradicts-throughput": {"ratio": 0.4},
    "remembers-images": {"new_images_ratio": 3.1},
    "uncounted-time": {"over_units": 3.1},
    "timing-too-short": with_row(timing_rounds=10),
    "foreign-process": with_row(foreign_share=0.02),
    "throttled": with_row(throttled_share=0.02),
    "clock-drifts": with_row(clock_trial_drift=-0.04),
    "slowed-by-neighbours": with_row(clock_over_alone=1.06),
    "baseline-out-of-band": {"band": (1.0, 4.9)},
    "known-answer": {"expectations": [KNOWN.model_copy(update={"value": 0.7})]},
}
"""A trial that breaks each rule and no other, as a change of the sound one."""
TRIPPED_ELSEWHERE = {
    "wrong-shape", "nan-samples", "constant-images", "no-fid", "flop-counters-disagree", "flop-coverage",
    "timing-too-short", "baseline-out-of-band", "known-answer", "unknown-units", "work-not-done", "foreign-process",
    "throttled", "clock-drifts", "slowed-by-neighbours", "seed-sets-disagree",
}  # fmt: skip
"""Rules against faults of the instruments or of a method's code, for which no cheat is written."""


def broken(**changes: Any) -> dict[str, str]:
    """Return the reasons of the rules that the changed trial breaks, by rule."""
    checks = judge(dataclasses.replace(SOUND, **changes))
    return {one.rule: one.reason for one in checks if one.finding.holds is False}


def test_a_sound_trial_breaks_no_rule_and_all_apply_to_it() -> None:
    checks = judge(SOUND)
    assert {one.reason: one.finding.holds for one in checks if one.finding.holds is not True} == {}
    assert {one.rule for one in checks} == {rule_name(rule) for rule in RULES}


@pytest.mark.parametrize("rule", [rule_name(rule) for rule in RULES])
def test_a_rule_is_tripped_alone_and_names_itself_what_it_found_and_what_it_expected(
    rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "oneclock.rows.rules"):
        reasons = broken(**FAULTS[rule])
    assert list(reasons) == [rule]
    assert reasons[rule].startswith(f"{rule}: ")
    assert ", expected " in reasons[rule]

    logged = [message for message in caplog.messages if f"rule {rule} broken" in message]
    assert len(logged) == 1
    assert "found" in logged[0]
    assert "expected" in logged[0]


def test_every_rule_has_a_fault_here_and_a_cheat_or_a_reason_for_none() -> None:
    names = {rule_name(rule) for rule in RULES}
    assert set(FAULTS) == names
    cheated = {rule for cheat in cheats.CHEATS for rule in cheat.rules}
    assert cheated | TRIPPED_ELSEWHERE == names | {"tampered"}
    assert not cheated & TRIPPED_ELSEWHERE


@pytest.mark.parametrize("rule", RULES, ids=rule_name)
def test_a_rule_says_in_one_sentence_what_it_demands(rule: Any) -> None:
    assert (rule.__doc__ or "").strip().endswith(".")
