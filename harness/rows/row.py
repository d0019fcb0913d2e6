"""Builds the rows of one trial, in all tables, from the outputs of its tasks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from harness.identity import canonical_json
from harness.metrics.truncation import Truncation, truncation
from harness.rows.evidence import TrialEvidence
from harness.rows.fidelity import fidelity_columns, fidelity_reasons
from harness.rows.missing import missing_columns
from harness.rows.names import name_columns
from harness.rows.rules import judge, unsound
from harness.rows.times import (
    batch_ratio,
    clock_over_alone,
    new_images_ratio,
    speedup_over_serial,
    time_columns,
    time_over_units,
)
from harness.rows.work import step_rows, work_by_step, work_columns
from harness.specs.base import Output
from harness.specs.fidelity import FidelityOutput
from harness.specs.prepare import PrepareOutput
from harness.specs.row import RowSpec
from harness.specs.sample import SampleOutput
from harness.specs.score import ScoreOutput
from harness.specs.time import TimeOutput
from harness.specs.weights import WeightsOutput
from harness.stats import paired_difference, standard_error

if TYPE_CHECKING:
    from harness.schema import Row

Kind = TypeVar("Kind", bound=Output)


def finished_tables(
    spec: RowSpec, results: Mapping[str, Output], digests: Mapping[int, np.ndarray], provenance: Row
) -> dict[str, list[Row]]:
    """Return the rows of a finished trial, per table.

    `results` maps ids of tasks to their outputs; `digests` maps indices of scored images that were timed too, see
    `timed_images`, to the SHA-256 of their scored pixels, uint8 [32].
    """
    # outputs of the trial's tasks
    found = _TrialOutputs(spec, results)
    score, timing, shards = found.score, found.timing, found.shards
    cost = shards[0].cost
    assert cost is not None

    # columns
    by_step = work_by_step(shards, cost)
    errors = _state_errors(shards)

    row: Row = {
        **name_columns(spec),
        **provenance,
        **work_columns(by_step, shards, cost, spec.n_images),
        **(_quality(score) if score else {}),
        **_difference(spec, score, found.baseline_score),
        **_state_columns(errors),
        **fidelity_columns(spec, found.fidelity),
        # its time and its price
        **time_columns(timing),
        **_beside_neighbours(timing, found.clock_timing),
        **speedup_over_serial(timing),
        **_price(found),
        "returned": found.returned(),
        "duration_seconds": sum(one.task_seconds for one in (*shards, score, found.own_timing) if one is not None),
        "status": "finished",
    }

    # why figures are missing
    lacking = [*(score.reasons if score else ()), *fidelity_reasons(spec, found.fidelity)]
    row["not_measured"] = "; ".join(lacking)

    # verdict
    checks = judge(_evidence(spec, found, row, digests))
    broken = [one.reason for one in checks if one.finding.holds is False]
    row["verdict"], row["reasons"] = ("INVALID" if broken else "VALID"), "; ".join(broken)
    row |= missing_columns(row, checks)
    row["not_audited"] = "; ".join(f"{one.rule}: {one.finding.found}" for one in checks if one.finding.holds is None)

    # details; repetitions belong to the trial that was timed
    own, serial = found.own_timing, shards[0].serial_distance
    return {
        "trials": [row],
        "steps": step_rows(cost, by_step, spec.n_images),
        "timings": []
        if own is None
        else [{**one.model_dump(), "is_counted": one.block == own.counted} for one in own.repetitions],
        "quality": _replicates((score, found.fidelity), errors),
        "refinements": [] if serial is None else [refinement.model_dump() for refinement in serial.refinements],
        "checks": [{"rule": one.rule, "place": place, **asdict(one.finding)} for place, one in enumerate(checks)],
        "virtual": [] if own is None else [replayed.model_dump() for replayed in own.virtual],
        **_preparation_tables(found),
    }


def failed_tables(
    spec: RowSpec, kind: str, sentence: str, results: Mapping[str, Output], provenance: Row
) -> dict[str, list[Row]]:
    """Return the one row of a trial that failed: what it was, and why it has no figures.

    `results` holds outputs of those of its tasks that are done; images that are no images could not be scored, and the
    row says so.
    """
    images = [output for task_id in spec.sample_ids if isinstance(output := results.get(task_id), SampleOutput)]
    bad = "; ".join(unsound(images, spec.n_images))
    row: Row = {
        **name_columns(spec),
        **provenance,
        "status": "finished" if bad else "failed",
        "verdict": "INVALID",
        "reasons": f"tampered: {sentence}" if kind == "tampered" else bad or f"failed({kind}): {sentence}",
    }
    return {"trials": [row]}


def timed_images(spec: RowSpec, results: Mapping[str, Output]) -> frozenset[int]:
    """Return the indices of the trial's own images that were timed in batches of the scored size."""
    batches = _TrialOutputs(spec, results).scored_batches()
    return frozenset(index for first, images in batches for index in range(first, first + images))


class _TrialOutputs:
    """The outputs of a trial's tasks, by what they are to it."""

    def __init__(self, spec: RowSpec, results: Mapping[str, Output]) -> None:
        self._spec, self._results = spec, results
        self.shards = [self._known(task_id, SampleOutput) for task_id in spec.sample_ids]
        self.timing = self._known(spec.time_id, TimeOutput)
        # repetitions and digests are those of the trial that was timed
        self.timed_shards = [self._known(task_id, SampleOutput) for task_id in spec.timed_sample_ids]
        self.own_timing = None if self.timed_shards else self.timing

        self.score = self._maybe(spec.score_id, ScoreOutput)
        self.fidelity = self._maybe(spec.fidelity_id, FidelityOutput)
        self.clock_timing = self._maybe(spec.clock_time_id, TimeOutput)
        self.clock_score = self._maybe(spec.clock_score_id, ScoreOutput)
        self.other_seeds = [self._maybe(task_id, ScoreOutput) for task_id in spec.other_seed_score_ids]
        self.baseline_score = self._maybe(spec.baseline_score_id, ScoreOutput)
        weights = spec.sampler.model.weights_id
        self.weights = None if weights is None else self._known(weights, WeightsOutput)
        decoder = spec.sampler.decoder
        self.decoder = None if decoder is None else self._known(decoder.weights_id, WeightsOutput)
        self.prepared = {
            name: self._known(part.artifact_id, PrepareOutput)
            for name, part in spec.sampler.parts().items()
            if part.artifact_id is not None
        }

    def counters_agree(self) -> bool | None:
        """Return whether two counters of FLOPs agree on network and decoder; None where neither has weights."""
        counted = [one.counters_agree for one in (self.weights, self.decoder) if one is not None]
        return all(counted) if counted else None

    def scored_batches(self) -> set[tuple[int, int]]:
        """Return first index and number of images of the scored batches that its own timing has made."""
        timed = [] if self.own_timing is None else self.own_timing.work
        return {(one.first, one.images) for one in timed if one.images_sha256}

    def timed_flops(self) -> float | None:
        """Return the FLOPs per image of the trial that was timed in this one's place; None if none was."""
        if not self.timed_shards:
            return None
        cost = self.timed_shards[0].cost
        assert cost is not None
        work = work_by_step(self.timed_shards, cost)
        return sum(step.flops for step in work.values()) / self._spec.n_images

    def returned(self) -> str | None:
        """Return what a preparation says that it returned in place of what it was to make; None if it made that."""
        returned = [prepared.artifact.get("returned") for prepared in self.prepared.values()]
        return next((str(one) for one in returned if one), None)

    def _known(self, task_id: str, kind: type[Kind]) -> Kind:
        found = self._results[task_id]
        assert isinstance(found, kind)
        return found

    def _maybe(self, task_id: str | None, kind: type[Kind]) -> Kind | None:
        return None if task_id is None or task_id not in self._results else self._known(task_id, kind)


def _evidence(spec: RowSpec, found: _TrialOutputs, row: Row, digests: Mapping[int, np.ndarray]) -> TrialEvidence:
    """Return all by which the trial is judged."""
    score, own = found.score, found.own_timing
    return TrialEvidence(
        row=row,
        shards=found.shards,
        precision=spec.sampler.model.precision,
        rounding=spec.sampler.rounding,
        equal_bytes=spec.sampler.equal_bytes,
        # its score, and what is known of others
        quality_reasons=score.reasons if score else (),
        copies=score.copies if score else None,
        has_reference_features=score is None or score.has_reference_features,
        counters_agree=found.counters_agree(),
        band=spec.fid_band,
        clock_fid=found.clock_score.figures.get("fid") if found.clock_score else None,
        timed_flops=found.timed_flops(),
        expectations=spec.expect,
        seed_differences=[pair for one in found.other_seeds if (pair := _seed_difference(score, one))],
        on_clocks_node=found.clock_timing is None or found.clock_timing.node == found.timing.node,
        **({} if own is None else _timing_evidence(own, found, row, digests)),
    )


def _flops_share(row: Row, found: _TrialOutputs) -> float:
    """Return the FLOPs of an image over those of one evaluation of the whole network; 0 where it has none."""
    cost = found.shards[0].cost
    return float(row.get("flops_per_image") or 0.0) / cost.network if cost is not None and cost.network else 0.0


def _timing_evidence(
    timing: TimeOutput, found: _TrialOutputs, row: Row, digests: Mapping[int, np.ndarray]
) -> dict[str, Any]:
    """Return what a trial's own timing left, with the digests of the scored images of the same batches."""
    batches, flops_share, nfe = found.scored_batches(), _flops_share(row, found), float(row.get("nfe") or 0.0)
    scored = {}
    for first, images in batches:
        rows = [digests[index] for index in range(first, first + images) if index in digests]
        scored[first, images] = hashlib.sha256(b"".join(row.tobytes() for row in rows)).hexdigest()
    return {
        "timed": timing.work,
        "scored_sha256": scored,
        "counted_batch": timing.counted_batch,
        "weights_changed": timing.weights_changed,
        "ratio": batch_ratio(timing),
        "new_images_ratio": new_images_ratio(timing, nfe),
        "repeats": {} if timing.looks is None else timing.looks.repeats,
        "over_units": time_over_units(timing, flops_share, nfe),
    }


def _beside_neighbours(timing: TimeOutput, alone: TimeOutput | None) -> Row:
    """Return how much longer the clock took with neighbours than alone on its node; nothing where it had none."""
    return {} if alone is None else {"clock_over_alone": clock_over_alone(timing, alone)}


def _quality(score: ScoreOutput) -> Row:
    copied = {} if score.copies is None else {"copy_rate": score.copies.rate}
    known = {"reference_n": score.reference_n, "images_sha256": score.images_sha256}
    return {**score.figures, **copied, **known}


def _difference(spec: RowSpec, score: ScoreOutput | None, base: ScoreOutput | None) -> Row:
    """Return fid minus the baseline's at the same NFE with its paired interval; nothing for the baseline itself."""
    if score is None or base is None or spec.baseline_score_id == spec.score_id:
        return {}
    own, baseline = ([one.figures["fid"] for one in each.replicates if "fid" in one.figures] for each in (score, base))
    if not own or len(own) < len(score.replicates) or len(baseline) != len(own) or len(base.replicates) != len(own):
        return {}
    found = paired_difference(score.figures["fid"], own, base.figures["fid"], baseline)
    return {
        "fid_difference": found.value,
        "fid_difference_low": found.low,
        "fid_difference_high": found.high,
    }


def _seed_difference(score: ScoreOutput | None, other: ScoreOutput | None) -> tuple[float, float] | None:
    """Return FID minus that from other noise, and its standard error: the two are independent. None without both."""
    if score is None or other is None:
        return None
    replicates = [[one.figures["fid"] for one in each.replicates if "fid" in one.figures] for each in (score, other)]
    if min(map(len, replicates)) < 2:
        return None
    return score.figures["fid"] - other.figures["fid"], math.hypot(*map(standard_error, replicates))


def _state_errors(shards: Sequence[SampleOutput]) -> dict[str, Truncation]:
    """Return the metrics of final states over the images that were compared, the shards in index order."""
    found = {}
    for name in {name: None for shard in shards for name in shard.distances}:
        parts = [shard.distances[name] for shard in shards if name in shard.distances]
        errors = [value for part in parts for value in part.squared_errors]
        error = truncation(errors, [value for part in parts for value in part.squared_norms])
        if error is not None:
            found[name] = error
    return found


def _state_columns(errors: Mapping[str, Truncation]) -> Row:
    row: Row = {}
    for name, one in errors.items():
        row |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    if "truncation_error" in errors:
        row["truncation_images"] = errors["truncation_error"].images
    return row


def _replicates(measured: Sequence[ScoreOutput | FidelityOutput | None], errors: Mapping[str, Truncation]) -> list[Row]:
    """Return the figures without each jackknife group; those of states have groups of their own images."""
    rows: dict[int, Row] = {}
    for one in (one for output in measured if output is not None for one in output.replicates):
        rows.setdefault(one.group, {"group": one.group}).update(one.figures)
    for name, error in errors.items():
        for group, value in enumerate(error.replicates):
            rows.setdefault(group, {"group": group})[name] = value
    return list(rows.values())


def _price(found: _TrialOutputs) -> Row:
    """Return what weights and preparations cost once, and what the weights are."""
    prices = [] if found.weights is None else [found.weights.price]
    prices += [prepared.price for prepared in found.prepared.values()]
    flops = [price.flops for price in prices]
    return {
        "prepare_seconds": float(sum(price.seconds for price in prices)),
        "prepare_flops": None if None in flops else float(sum(one for one in flops if one is not None)),
        "weights_sha256": found.weights.sha256 if found.weights else None,
    }


def _preparation_tables(found: _TrialOutputs) -> dict[str, list[Row]]:
    return {"searches": _searches(found), "calibration": _calibration(found)}


def _searches(found: _TrialOutputs) -> list[Row]:
    """Return what the searches behind a trial tried, in their order."""
    return [
        {
            **{key: value for key, value in tried.items() if key != "candidate"},
            "part": part,
            "candidate_json": canonical_json(tried["candidate"]),
        }
        for part, tried in _artifact_entries(found, "history")
    ]


def _calibration(found: _TrialOutputs) -> list[Row]:
    """Return what the methods of a trial predict, and the truth that their preparations measured."""
    return [{**measured, "part": part} for part, measured in _artifact_entries(found, "calibration")]


def _artifact_entries(found: _TrialOutputs, fact: str) -> Iterator[tuple[str, Row]]:
    """Yield part and entry of a list that preparations left among the facts of their artifacts."""
    for part, prepared in found.prepared.items():
        entries: Any = prepared.artifact.get(fact, [])
        for entry in entries:
            yield part, entry
