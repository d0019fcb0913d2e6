"""VALID or INVALID(reasons): small rules, each says what it found and what it expected. Only VALID rows rank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.specs.row import Expectation
from harness.specs.rules.timing import TIERS
from harness.specs.sample import SampleOutput

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Findings:
    """What is known besides a row: why it has no FID, whether two counters agree, the clock's FID, what is expected.

    `timed_flops` are those per image of the trial that was timed in its place.
    """

    quality_reasons: Sequence[str] = ()
    counters_agree: bool | None = None
    band: tuple[float, float] | None = None
    clock_fid: float | None = None
    timed_flops: float | None = None
    expectations: Sequence[Expectation] = ()


def verdict(row: Row, shards: Sequence[SampleOutput], audit: Mapping[int, bool], findings: Findings) -> tuple[str, str]:
    """Return the verdict of a finished trial and its reasons, joined by "; "."""
    reasons = [
        *_images(row, shards),
        *_quality(row, findings.quality_reasons),
        *_timed_images(audit),
        *_timed_in_place(row, findings.timed_flops),
        *_timing_rules(row),
        *_counters(row, findings.counters_agree),
        *_baseline_band(findings.band, findings.clock_fid),
        *_known_answers(row, findings.expectations),
    ]
    return ("INVALID", "; ".join(reasons)) if reasons else ("VALID", "")


def unsound(shards: Sequence[SampleOutput], n_images: int) -> Iterator[str]:
    """Yield why the images are no images."""
    wrong = [shard.wrong_shape for shard in shards if shard.wrong_shape is not None]
    if wrong:
        yield f"wrong-shape: the sampler returned {wrong[0]}, not the shape it was given"
    bad = sum(shard.not_finite for shard in shards)
    if bad:
        first = min(shard.first_not_finite for shard in shards if shard.first_not_finite is not None)
        yield f"nan-samples: {bad} of {n_images} images hold NaN or infinity, the first is image {first}"


def known_answer(known: Expectation, n_images: int) -> tuple[float, float]:
    """Return the answer for so many images, and by how much a row may miss it."""
    value = known.value + known.per_image / n_images
    slack = known.absolute + known.relative * abs(value)
    return value, slack if known.noise_at is None else slack * math.sqrt(known.noise_at / n_images)


def _images(row: Row, shards: Sequence[SampleOutput]) -> Iterator[str]:
    yield from unsound(shards, row["n_images"])
    constant = sum(shard.constant for shard in shards)
    if constant > row["n_images"] / 2:
        yield f"constant-images: {constant} of {row['n_images']} images have a single grey level"


def _quality(row: Row, reasons: Sequence[str]) -> Iterator[str]:
    if row.get("fid") is None:
        yield f"no-fid: {'; '.join(reasons) or 'the images could not be scored'}"


def _timed_images(audit: Mapping[int, bool]) -> Iterator[str]:
    wrong = sorted(index for index, same in audit.items() if not same)
    if wrong:
        yield f"timed-images-differ: {len(wrong)} of {len(audit)} timed images are not the scored ones: {wrong[0]}"


def _timed_in_place(row: Row, timed_flops: float | None) -> Iterator[str]:
    found = row.get("flops_per_image")
    if timed_flops is not None and found != timed_flops:
        yield (
            f"timed-work-differs: an image takes {found:.4g} FLOPs, in the training that was timed {timed_flops:.4g}, "
            "expected as many since all parts have fixed_work"
        )


def _timing_rules(row: Row) -> Iterator[str]:
    """Compare what the timing really did with what its tier demands."""
    rules = TIERS[row["timing_tier"]]
    pairs = (
        ("rounds", row["timing_rounds"], rules.rounds),
        ("seconds", row["timing_block_seconds"], rules.seconds),
        ("warm-up calls", row["warm_up_calls"], rules.warm_up_calls),
    )
    short = [f"{found:.4g} {what} of {least:g}" for what, found, least in pairs if found < least]
    if short:
        yield f"timing-too-short: {', '.join(short)} that the tier {row['timing_tier']} demands"


def _counters(row: Row, agree: bool | None) -> Iterator[str]:
    if agree is False:
        yield "flop-counters-disagree: FlopCounterMode is not twice DeepSpeed's multiply-adds on this network"
    if row.get("flop_coverage") is not None and row["flop_coverage"] < 1.0:
        yield f"flop-coverage: the counter saw {row['flop_coverage']:.1%} of the matrix parameters run, expected all"


def _baseline_band(band: tuple[float, float] | None, clock_fid: float | None) -> Iterator[str]:
    if band is not None and clock_fid is not None and not band[0] <= clock_fid <= band[1]:
        yield f"baseline-out-of-band: the baseline's FID is {clock_fid:.4g}, expected {band[0]:g} to {band[1]:g}"


def _known_answers(row: Row, expectations: Sequence[Expectation]) -> Iterator[str]:
    for known in expectations:
        if (known.dataset, known.method, known.steps) != (row["dataset"], row["method"], row["steps"]):
            continue
        found = row.get(known.column)
        value, slack = known_answer(known, int(row["n_images"]))
        if found is None or not abs(found - value) <= slack:
            expected = f"expected {value:g} within {slack:.3g} ({known.source})"
            yield f"known-answer: {known.column} is {found}, {expected}"
