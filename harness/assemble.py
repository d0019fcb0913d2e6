"""From what the tasks of one trial returned to its rows in the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.assemble_work import step_rows, work_of
from harness.identity import canonical_json
from harness.metrics.jackknife import paired_difference
from harness.metrics.truncation import Truncation, truncation
from harness.planning import Plan, PlannedTrial
from harness.suite import Suite
from harness.timing_rules import median_interval, ratio_interval
from harness.trial import Trial
from harness.verdict import verdict

Facts = Mapping[str, Any]


def finished_tables(
    planned: PlannedTrial, plan: Plan, results: Mapping[str, Facts], digests: Mapping[int, str], provenance: Facts
) -> dict[str, Any]:
    """Return the rows of a finished trial, per table.

    `results` maps ids of tasks to the facts of their results; `digests` maps indices of scored images that were timed
    too to the SHA-256 of their scored pixels.
    """
    trial, suite = planned.trial, plan.suite
    shards = [results[s] for s in planned.shards]
    score, clock_score = _facts(results, planned.score), _facts(results, planned.clock_score)
    distance, own_distance = (_distance(shards, prefix) for prefix in ("", "own_"))
    timing = results[planned.time]
    work = work_of(trial, shards)
    row = {
        **_names(trial, suite),
        **provenance,
        **work["row"],
        **_quality(score),
        **_difference(planned, results, score),
        **_truncation(distance, own_distance),
        **_times(timing, suite),
        **_beside_serial(timing),
        **_price(planned, results),
        "returned": _returned(trial, results),
        **_relations(planned),
        "devices": trial.devices,
        "reference": f"{trial.dataset.name} {trial.dataset.reference} {trial.data_facts['pixels']}",
        "duration_seconds": sum(
            results[t]["task_seconds"] for t in (*planned.shards, planned.score, planned.time) if t in results
        ),
        "status": "finished",
    }
    rules = {
        "quality_reasons": score.get("reasons", []),
        "counters_agree": _facts(results, planned.train).get("counters_agree") if planned.train else None,
        "band": suite.baseline.fid_band,
        "clock_fid": clock_score.get("fid"),
        "expectations": suite.expect,
    }
    row["verdict"], row["reasons"] = verdict(row, shards, _audit(timing["audit"], digests), rules)
    steps = step_rows(trial, results[planned.shards[0]]["cost"], work["by_step"])
    repetitions = timing["repetitions"]
    return {
        "trials": [row],
        "steps": steps,
        "timings": repetitions,
        "quality": _replicates(score, distance),
        "searches": _searches(trial, results),
        "calibration": _calibration(trial, results),
        "refinements": shards[0].get("refinements", []),
        "virtual": timing["virtual"],
    }


def failed_tables(planned: PlannedTrial, plan: Plan, kind: str, sentence: str, provenance: Facts) -> dict[str, Any]:
    """Return the one row of a trial that failed: what it was, and why it has no figures."""
    row = {
        **_names(planned.trial, plan.suite),
        **provenance,
        **_relations(planned),
        "status": "failed",
        "verdict": "INVALID",
        "reasons": f"failed({kind}): {sentence}",
    }
    return {"trials": [row]}


def _names(trial: Trial, suite: Suite) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "dataset": trial.dataset.name,
        "network": trial.network.name,
        "network_like": trial.network.like or trial.network.name,
        "method": trial.method,
        **{part: method.name for part, method in trial.parts.items()},
        "params_json": trial.params_json(),
        "steps": trial.steps,
        "seed_set": trial.seed_set,
        "n_images": trial.n_images,
        "batch": trial.batch,
        "extractor": f"{trial.extractor['name']}:{trial.extractor['layer']}",
        "extractor_sha256": trial.extractor["sha256"],
        "timing_tier": suite.timing.tier,
        "precision_dtype": trial.precision,
    }


def _relations(planned: PlannedTrial) -> dict[str, Any]:
    return {
        "is_baseline": planned.is_baseline,
        **planned.references,
    }


def _facts(results: Mapping[str, Facts], task_id: str) -> Facts:
    return results.get(task_id, {})


def _quality(score: Facts) -> dict[str, Any]:
    names = ("fid", "fid_low", "fid_high", "fid_floor", "kid", "kid_se", "precision", "recall", "reference_n")
    return {name: score.get(name) for name in (*names, "images_sha256")}


def _difference(planned: PlannedTrial, results: Mapping[str, Facts], score: Facts) -> dict[str, Any]:
    """Return fid minus the baseline's at the same NFE with its paired interval; nothing for the baseline itself."""
    apart = planned.baseline_score is not None and planned.baseline_score != planned.score
    theirs = _facts(results, planned.baseline_score) if apart and planned.baseline_score else {}
    if score.get("fid") is None or theirs.get("fid") is None or not score.get("replicates"):
        return {}
    mine = [r["fid"] for r in score["replicates"]]
    base = [r["fid"] for r in theirs["replicates"]]
    if None in mine or None in base or len(mine) != len(base):
        return {}
    found = paired_difference(score["fid"], mine, theirs["fid"], base)
    return {
        "fid_difference": found.value,
        "fid_difference_low": found.low,
        "fid_difference_high": found.high,
    }


def _distance(shards: Sequence[Facts], prefix: str) -> Truncation | None:
    """Return the truncation error over the images that were compared, the shards in index order."""
    names = (f"{prefix}squared_errors", f"{prefix}squared_norms")
    return truncation(*([value for s in shards for value in s.get(name, [])] for name in names))


def _truncation(found: Truncation | None, own: Truncation | None) -> dict[str, Any]:
    row: dict[str, Any] = {"truncation_images": found.images} if found else {}
    for name, one in (("truncation_error", found), ("own_truncation_error", own)):
        if one is not None:
            row |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return row


def _replicates(score: Facts, found: Truncation | None) -> list[dict[str, Any]]:
    """Return the figures without each jackknife group; truncation error has its own groups, of the images compared."""
    rows = {r["group"]: dict(r) for r in score.get("replicates", [])}
    for group, value in enumerate(found.replicates if found else ()):
        rows.setdefault(group, {"group": group})["truncation_error"] = value
    return list(rows.values())


def _times(timing: Facts, suite: Suite) -> dict[str, Any]:
    """Return medians, their intervals and the paired speed-up from the repetitions of one block."""
    alone, full = _seconds(timing, "latency", "trial"), _seconds(timing, "throughput", "trial")
    interval = median_interval(alone)
    speedup, low, high = ratio_interval(_seconds(timing, "throughput", "baseline") / full)
    batch = next(r["batch"] for r in timing["repetitions"] if r["kind"] == "throughput")
    return {
        "latency_seconds": float(np.median(alone)),
        "latency_low_seconds": interval[0] if interval else None,
        "latency_high_seconds": interval[1] if interval else None,
        "throughput_images_per_second": batch / float(np.median(full)),
        "speedup": speedup,
        "speedup_low": low,
        "speedup_high": high,
        "peak_memory_bytes": timing["peak_memory_bytes"],
        "energy_joules_per_image": timing["energy_joules_per_image"],
        "device_name": timing["device_name"],
    }


def _beside_serial(timing: Facts) -> dict[str, Any]:
    """Return the paired speed-up over the serial twin and the virtual latency, where the executor is parallel."""
    serial = _seconds(timing, "latency", "serial")
    if not len(serial):
        return {}
    speedup, low, high = ratio_interval(serial / _seconds(timing, "latency", "trial"))
    replayed = [row["virtual_latency_seconds"] for row in timing["virtual"] if row["is_real"]]
    return {
        "serial_latency_seconds": float(np.median(serial)),
        "speedup_over_serial": speedup,
        "speedup_over_serial_low": low,
        "speedup_over_serial_high": high,
        "virtual_latency_seconds": replayed[0] if replayed else None,
    }


def _seconds(timing: Facts, kind: str, role: str) -> np.ndarray:
    """Return the seconds of the calls of a kind and role, float64 [rounds]."""
    return np.array([r["seconds"] for r in timing["repetitions"] if (r["kind"], r["role"]) == (kind, role)], np.float64)


def _price(planned: PlannedTrial, results: Mapping[str, Facts]) -> dict[str, Any]:
    needed = [t for t in (planned.train, *planned.prepares) if t is not None]
    prices = [results[t]["price"] for t in needed]
    return {
        "prepare_seconds": float(sum(p["seconds"] for p in prices)),
        "prepare_flops": None if any(p["flops"] is None for p in prices) else float(sum(p["flops"] for p in prices)),
        "weights": planned.trial.network.weights or ("trained" if planned.train else "exact"),
        "weights_sha256": results[planned.train].get("sha256") if planned.train else None,
    }


def _returned(trial: Trial, results: Mapping[str, Facts]) -> str | None:
    """Return what a preparation says that it returned in place of what it was to make; None if it made that."""
    found = [results[artifact_id]["artifact"].get("returned") for artifact_id in trial.artifacts.values()]
    return next(filter(None, found), None)


def _searches(trial: Trial, results: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """Return what the searches behind a trial tried, in their order."""
    rows = []
    for part, artifact_id in trial.artifacts.items():
        for tried in results[artifact_id]["artifact"].get("history", []):
            candidate = canonical_json(tried["candidate"])
            rows.append({**tried, "part": part, "candidate_json": candidate})
    return [{key: value for key, value in row.items() if key != "candidate"} for row in rows]


def _calibration(trial: Trial, results: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """Return what the methods of a trial predict of themselves beside the truth, as their preparations measured it."""
    return [
        {**measured, "part": part}
        for part, artifact_id in trial.artifacts.items()
        for measured in results[artifact_id]["artifact"].get("calibration", [])
    ]


def _audit(timed: Mapping[str, str], scored: Mapping[int, str]) -> dict[str, bool]:
    """Return, for each image seen in the timed calls, whether it is byte for byte the scored one."""
    return {index: scored[int(index)] == digest for index, digest in timed.items() if int(index) in scored}
