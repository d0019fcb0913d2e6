"""Each rule fires with its reason, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from harness.rows.verdict import Findings, verdict
from harness.specs.row import Expectation
from harness.specs.sample import SampleOutput

ROW = {
    "dataset": "gaussian", "method": "ddim", "steps": 4, "n_images": 20, "fid": 1.5, "flop_coverage": 1.0,
    "timing_tier": "quick", "timing_rounds": 11, "timing_block_seconds": 2.0, "warm_up_calls": 3,
}  # fmt: skip
NOTHING = {"evaluations": {}, "units": {}, "iterations": {}, "critical": {}, "speculative": 0, "bytes_sent": 0}
SOUND: dict[str, Any] = {
    "not_finite": 0, "first_not_finite": None, "constant": 0, "wrong_shape": None, "seconds": 1.0,
    "network_seconds": 1.0, "counts": NOTHING,
}  # fmt: skip


def judged(
    row: dict[str, Any] | None = None,
    shards: list[dict[str, Any]] | None = None,
    audit: dict[int, bool] | None = None,
    **known: Any,
) -> tuple[str, str]:
    given = [SampleOutput.model_validate({**SOUND, **shard}) for shard in shards or [{}, {}]]
    findings = Findings(**{"counters_agree": True, "clock_fid": 1.0, **known})
    return verdict({**ROW, **(row or {})}, given, {0: True} if audit is None else audit, findings)


def known(value: float, **changes: Any) -> Expectation:
    entry = {"dataset": "gaussian", "method": "ddim", "steps": 4, "column": "fid", "value": value, "source": "theory"}
    return Expectation(**{**entry, **changes})


@pytest.mark.parametrize(
    "sound",
    [
        {},
        {"audit": {}},
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
    ],
    ids=str,
)
def test_a_sound_trial_is_valid_without_reasons(sound: dict[str, Any]) -> None:
    assert judged(**sound) == ("VALID", "")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (
            {"shards": [{}, {"not_finite": 2, "first_not_finite": 13}, {"not_finite": 1, "first_not_finite": 17}]},
            "nan-samples: 3 of 20 images hold NaN or infinity, the first is image 13",
        ),
        ({"shards": [{"constant": 6}, {"constant": 5}]}, "constant-images: 11 of 20"),
        ({"shards": [{"wrong_shape": [9, 1, 4, 4]}]}, "wrong-shape: the sampler returned [9, 1, 4, 4]"),
        ({"row": {"fid": None}, "quality_reasons": ["too few images"]}, "no-fid: too few images"),
        ({"row": {"fid": None}}, "no-fid: the images could not be scored"),
        ({"audit": {0: True, 9: False, 10: False}}, "timed-images-differ: 2 of 3 timed images"),
        (
            {"row": {"flops_per_image": 7.0}, "timed_flops": 8.0},
            "timed-work-differs: an image takes 7 FLOPs, in the training that was timed 8, expected as many",
        ),
        ({"row": {"timing_rounds": 10}}, "timing-too-short: 10 rounds of 11 that the tier quick demands"),
        (
            {"row": {"timing_block_seconds": 1.25, "warm_up_calls": 2}},
            "timing-too-short: 1.25 seconds of 2, 2 warm-up calls of 3 that the tier quick demands",
        ),
        ({"counters_agree": False}, "flop-counters-disagree"),
        ({"row": {"flop_coverage": 0.875}}, "flop-coverage: the counter saw 87.5%"),
        ({"band": (0.2, 0.9)}, "baseline-out-of-band: the baseline's FID is 1, expected 0.2 to 0.9"),
        ({"band": (1.1, 2.0)}, "baseline-out-of-band"),
        ({"expectations": [known(1.7, absolute=0.1)]}, "known-answer: fid is 1.5, expected 1.7 within 0.1 (theory)"),
        ({"expectations": [known(1.5, column="kid")]}, "known-answer: kid is None"),
        (
            {"expectations": [known(1.9, absolute=0.19, noise_at=80)]},
            "known-answer: fid is 1.5, expected 1.9 within 0.38",
        ),
        ({"row": {"fid": float("nan")}, "expectations": [known(1.5, absolute=9.0)]}, "known-answer: fid is nan"),
    ],
    ids=str,
)
def test_one_fault_is_one_reason(fault: dict[str, Any], reason: str) -> None:
    found, reasons = judged(**fault)
    assert found == "INVALID"
    assert reasons.startswith(reason)
    assert ";" not in reasons


def test_all_reasons_are_told_together() -> None:
    _, reasons = judged(shards=[{"constant": 20}], counters_agree=False)
    assert [reason.partition(":")[0] for reason in reasons.split("; ")] == ["constant-images", "flop-counters-disagree"]


def test_the_timed_image_that_is_named_is_the_lowest_by_number() -> None:
    assert judged(audit={10: False, 9: False})[1].endswith(": 9")
