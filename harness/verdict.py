"""VALID or INVALID(reasons): small rules, each says what it found and what it expected. Only VALID rows rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.suite import Expectation

Row = Mapping[str, Any]


def verdict(row: Row, shards: Sequence[Row], audit: Mapping[str, bool], rules: Mapping[str, Any]) -> tuple[str, str]:
    """Return the verdict of a finished trial and its reasons, joined by "; "."""
    reasons = [
        *_images(row, shards),
        *_quality(row, rules["quality_reasons"]),
        *_timed_images(audit),
        *_counters(row, rules["counters_agree"]),
        *_baseline_band(rules["band"], rules["clock_fid"]),
        *_known_answers(row, rules["expectations"]),
    ]
    return ("INVALID", "; ".join(reasons)) if reasons else ("VALID", "")


def _images(row: Row, shards: Sequence[Row]) -> Iterator[str]:
    wrong = [s["wrong_shape"] for s in shards if s["wrong_shape"] is not None]
    if wrong:
        yield f"wrong-shape: the sampler returned {wrong[0]}, not the shape it was given"
    bad = sum(s["not_finite"] for s in shards)
    if bad:
        first = min(s["first_not_finite"] for s in shards if s["first_not_finite"] is not None)
        yield f"nan-samples: {bad} of {row['n_images']} images hold NaN or infinity, the first is image {first}"
    constant = sum(s["constant"] for s in shards)
    if constant > row["n_images"] / 2:
        yield f"constant-images: {constant} of {row['n_images']} images have a single grey level"


def _quality(row: Row, reasons: Sequence[str]) -> Iterator[str]:
    if row.get("fid") is None:
        yield f"no-fid: {'; '.join(reasons) or 'the images could not be scored'}"


def _timed_images(audit: Mapping[str, bool]) -> Iterator[str]:
    wrong = sorted(int(index) for index, same in audit.items() if not same)
    if wrong:
        yield f"timed-images-differ: {len(wrong)} of {len(audit)} timed images are not the scored ones: {wrong[0]}"


def _counters(row: Row, agree: bool | None) -> Iterator[str]:
    if agree is False:
        yield "flop-counters-disagree: FlopCounterMode is not twice DeepSpeed's multiply-adds on this network"
    if row.get("flop_coverage") is not None and row["flop_coverage"] < 1.0:
        yield f"flop-coverage: the counter saw {row['flop_coverage']:.1%} of the matrix parameters run, expected all"


def _baseline_band(band: Sequence[float] | None, clock_fid: float | None) -> Iterator[str]:
    if band is not None and clock_fid is not None and not band[0] <= clock_fid <= band[1]:
        yield f"baseline-out-of-band: the baseline's FID is {clock_fid:.4g}, expected {band[0]:g} to {band[1]:g}"


def _known_answers(row: Row, expectations: Sequence[Expectation]) -> Iterator[str]:
    for known in expectations:
        if (known.dataset, known.method, known.steps) != (row["dataset"], row["method"], row["steps"]):
            continue
        found = row.get(known.column)
        value, slack = known.at(int(row["n_images"]))
        if found is None or not abs(found - value) <= slack:
            told = f"expected {value:g} within {slack:.3g} ({known.source})"
            yield f"known-answer: {known.column} is {found}, {told}"
