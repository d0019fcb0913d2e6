"""From what the tasks of one trial returned to its rows in the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from harness.identity import canonical_json
from harness.metrics.truncation import Truncation, truncation
from harness.rows.verdict import Findings, unsound, verdict
from harness.rows.work import step_rows, work_by_step, work_columns
from harness.specs.base import Output
from harness.specs.prepare import PrepareOutput
from harness.specs.row import RowSpec
from harness.specs.sample import Distances, SampleOutput
from harness.specs.score import ScoreOutput
from harness.specs.time import TimeOutput
from harness.specs.weights import WeightsOutput
from harness.stats import median_interval, paired_difference, ratio_interval

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
    found = _Results(spec, results)
    score, timing, shards = found.score, found.timing, found.shards
    cost = shards[0].cost
    assert cost is not None
    by_step = work_by_step(shards, cost)
    distance = _truncation_error([shard.distances for shard in shards])
    own_distance = _truncation_error([shard.own_distances for shard in shards])
    row: Row = {
        **names(spec),
        **provenance,
        **work_columns(by_step, shards, cost, spec.n_images),
        **(_quality(score) if score else {}),
        **_difference(spec, score, found.baseline_score),
        **_truncation(distance, own_distance),
        **_times(timing),
        **_beside_serial(timing),
        **_price(found),
        "returned": found.returned(),
        "duration_seconds": sum(one.task_seconds for one in (*shards, score, timing) if one is not None),
        "status": "finished",
    }
    findings = Findings(
        quality_reasons=score.reasons if score else (),
        counters_agree=found.weights.counters_agree if found.weights else None,
        band=spec.fid_band,
        clock_fid=found.clock_score.fid if found.clock_score else None,
        expectations=spec.expect,
    )
    row["verdict"], row["reasons"] = verdict(row, shards, _audit(timing.digests, digests), findings)
    serial = shards[0].serial_distance
    return {
        "trials": [row],
        "steps": step_rows(cost, by_step, spec.n_images),
        "timings": [repetition.model_dump() for repetition in timing.repetitions],
        "quality": _replicates(score, distance),
        "searches": _searches(found),
        "calibration": _calibration(found),
        "refinements": [] if serial is None else [refinement.model_dump() for refinement in serial.refinements],
        "virtual": [replayed.model_dump() for replayed in timing.virtual],
    }


def failed_tables(
    spec: RowSpec, kind: str, sentence: str, results: Mapping[str, Output], provenance: Row
) -> dict[str, list[Row]]:
    """Return the one row of a trial that failed: what it was, and why it has no figures.

    `results` holds outputs of those of its tasks that are done; images that are no images could not be scored, and the
    row says so.
    """
    images = [output for task_id in spec.samples if isinstance(output := results.get(task_id), SampleOutput)]
    bad = "; ".join(unsound(images, spec.n_images))
    row: Row = {
        **names(spec),
        **provenance,
        "status": "finished" if bad else "failed",
        "verdict": "INVALID",
        "reasons": bad or f"failed({kind}): {sentence}",
    }
    return {"trials": [row]}


def timed_images(spec: RowSpec, results: Mapping[str, Output]) -> frozenset[int]:
    """Return the indices of the images whose digests the timing has noted."""
    timing = results[spec.time]
    assert isinstance(timing, TimeOutput)
    return frozenset(timing.digests)


def names(spec: RowSpec) -> Row:
    """Return the columns that say what a trial is, and which others it is compared with."""
    sampler, data = spec.sampler, spec.sampler.model.data
    return {
        "suite": spec.suite,
        "dataset": data.name,
        "network": spec.network,
        "network_like": spec.network_like,
        "method": spec.method,
        **{name: part.name for name, part in sampler.parts().items()},
        "params_json": canonical_json({name: part.params for name, part in sampler.parts().items()}),
        "steps": sampler.steps,
        "seed_set": sampler.seed_set,
        "n_images": spec.n_images,
        "batch": sampler.batch,
        "extractor": f"{spec.extractor.name}:{spec.extractor.layer}",
        "extractor_sha256": spec.extractor.sha256,
        "timing_tier": spec.tier,
        "precision_dtype": sampler.model.precision,
        "devices": sampler.devices,
        "reference": f"{data.name} {data.reference} {data.pixels}",
        "weights": spec.weights,
        **spec.relations.model_dump(),
    }


class _Results:
    """The outputs of a trial's tasks, by what they are to it."""

    def __init__(self, spec: RowSpec, results: Mapping[str, Output]) -> None:
        self._spec, self._results = spec, results
        self.shards = [self._known(task_id, SampleOutput) for task_id in spec.samples]
        self.timing = self._known(spec.time, TimeOutput)
        self.score = self._maybe(spec.score)
        self.clock_score = self._maybe(spec.clock_score)
        self.baseline_score = self._maybe(spec.baseline_score)
        weights = spec.sampler.model.weights
        self.weights = None if weights is None else self._known(weights, WeightsOutput)
        self.prepared = {
            name: self._known(part.artifact, PrepareOutput)
            for name, part in spec.sampler.parts().items()
            if part.artifact is not None
        }

    def returned(self) -> str | None:
        """Return what a preparation says that it returned in place of what it was to make; None if it made that."""
        told = [prepared.artifact.get("returned") for prepared in self.prepared.values()]
        return next((str(one) for one in told if one), None)

    def _known(self, task_id: str, kind: type[Kind]) -> Kind:
        found = self._results[task_id]
        assert isinstance(found, kind)
        return found

    def _maybe(self, task_id: str | None) -> ScoreOutput | None:
        return None if task_id is None or task_id not in self._results else self._known(task_id, ScoreOutput)


def _quality(score: ScoreOutput) -> Row:
    figures = {"fid", "fid_low", "fid_high", "fid_floor", "kid", "kid_se", "precision", "recall", "reference_n"}
    return score.model_dump(include={*figures, "images_sha256"})


def _difference(spec: RowSpec, score: ScoreOutput | None, base: ScoreOutput | None) -> Row:
    """Return fid minus the baseline's at the same NFE with its paired interval; nothing for the baseline itself."""
    if score is None or base is None or spec.baseline_score == spec.score or None in (score.fid, base.fid):
        return {}
    mine, theirs = ([one.fid for one in each.replicates if one.fid is not None] for each in (score, base))
    if not mine or len(mine) < len(score.replicates) or len(theirs) != len(mine) or len(base.replicates) != len(mine):
        return {}
    assert score.fid is not None
    assert base.fid is not None
    found = paired_difference(score.fid, mine, base.fid, theirs)
    return {
        "fid_difference": found.value,
        "fid_difference_low": found.low,
        "fid_difference_high": found.high,
    }


def _truncation_error(found: Sequence[Distances]) -> Truncation | None:
    """Return the truncation error over the images that were compared, the shards in index order."""
    errors = [value for one in found for value in one.squared_errors]
    return truncation(errors, [value for one in found for value in one.squared_norms])


def _truncation(found: Truncation | None, own: Truncation | None) -> Row:
    row: Row = {"truncation_images": found.images} if found else {}
    for name, one in (("truncation_error", found), ("own_truncation_error", own)):
        if one is not None:
            row |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return row


def _replicates(score: ScoreOutput | None, found: Truncation | None) -> list[Row]:
    """Return the figures without each jackknife group; truncation error has its own groups, of the images compared."""
    rows: dict[int, Row] = {one.group: one.model_dump() for one in (score.replicates if score else ())}
    for group, value in enumerate(found.replicates if found else ()):
        rows.setdefault(group, {"group": group})["truncation_error"] = value
    return list(rows.values())


def _times(timing: TimeOutput) -> Row:
    """Return medians, their intervals and the paired speed-up from the repetitions of one block."""
    alone, full = _seconds(timing, "latency", "trial"), _seconds(timing, "throughput", "trial")
    interval = median_interval(alone)
    speedup, low, high = ratio_interval(_seconds(timing, "throughput", "baseline") / full)
    batch = next(one.batch for one in timing.repetitions if one.kind == "throughput")
    return {
        "latency_seconds": float(np.median(alone)),
        "latency_low_seconds": interval[0] if interval else None,
        "latency_high_seconds": interval[1] if interval else None,
        "throughput_images_per_second": batch / float(np.median(full)),
        "speedup": speedup,
        "speedup_low": low,
        "speedup_high": high,
        "peak_memory_bytes": timing.peak_memory_bytes,
        "energy_joules_per_image": timing.energy_joules_per_image,
        "device_name": timing.device_name,
    }


def _beside_serial(timing: TimeOutput) -> Row:
    """Return the paired speed-up over the serial twin and the virtual latency, where the executor is parallel."""
    serial = _seconds(timing, "latency", "serial")
    if not len(serial):
        return {}
    speedup, low, high = ratio_interval(serial / _seconds(timing, "latency", "trial"))
    replayed = [one.virtual_latency_seconds for one in timing.virtual if one.is_real]
    return {
        "serial_latency_seconds": float(np.median(serial)),
        "speedup_over_serial": speedup,
        "speedup_over_serial_low": low,
        "speedup_over_serial_high": high,
        "virtual_latency_seconds": replayed[0] if replayed else None,
    }


def _seconds(timing: TimeOutput, kind: str, role: str) -> np.ndarray:
    """Return the seconds of the calls of a kind and role, float64 [rounds]."""
    return np.array([one.seconds for one in timing.repetitions if (one.kind, one.role) == (kind, role)], np.float64)


def _price(found: _Results) -> Row:
    """Return what weights and preparations cost once, and what the weights are."""
    prices = [] if found.weights is None else [found.weights.price]
    prices += [prepared.price for prepared in found.prepared.values()]
    flops = [price.flops for price in prices]
    return {
        "prepare_seconds": float(sum(price.seconds for price in prices)),
        "prepare_flops": None if None in flops else float(sum(one for one in flops if one is not None)),
        "weights_sha256": found.weights.sha256 if found.weights else None,
    }


def _searches(found: _Results) -> list[Row]:
    """Return what the searches behind a trial tried, in their order."""
    return [
        {
            **{key: value for key, value in tried.items() if key != "candidate"},
            "part": part,
            "candidate_json": canonical_json(tried["candidate"]),
        }
        for part, tried in _told(found, "history")
    ]


def _calibration(found: _Results) -> list[Row]:
    """Return what the methods of a trial predict of themselves beside the truth, as their preparations measured it."""
    return [{**measured, "part": part} for part, measured in _told(found, "calibration")]


def _told(found: _Results, fact: str) -> Iterator[tuple[str, Row]]:
    """Yield part and entry of a list that preparations left among the facts of their artifacts."""
    for part, prepared in found.prepared.items():
        entries: Any = prepared.artifact.get(fact, [])
        for entry in entries:
            yield part, entry


def _audit(timed: Mapping[int, str], scored: Mapping[int, np.ndarray]) -> dict[int, bool]:
    """Return, for each image seen in the timed calls, whether it is byte for byte the scored one."""
    return {index: scored[index].tobytes().hex() == digest for index, digest in timed.items() if index in scored}
