"""From what the tasks of one trial returned to its rows in the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.identity import canonical_json
from harness.metrics.jackknife import paired_difference
from harness.metrics.truncation import Truncation, truncation
from harness.planning import Plan, PlannedTrial
from harness.suite import Suite
from harness.timing_rules import median_interval, ratio_interval
from harness.trial import Trial
from harness.verdict import verdict
from methods.vp_time import t_of_sigma

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
    distance = _distance(shards)
    timing = results[planned.time]
    work = _work(trial, shards)
    row = {
        **_names(trial, suite),
        **provenance,
        **work["row"],
        **_quality(score),
        **_difference(planned, results, score),
        **_truncation(distance),
        **_times(timing, suite),
        **_beside_serial(timing),
        **_price(planned, results),
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
    steps = _steps(trial, results[planned.shards[0]]["cost"], work["by_step"])
    repetitions = timing["repetitions"]
    return {
        "trials": [row],
        "steps": steps,
        "timings": repetitions,
        "quality": _replicates(score, distance),
        "searches": _searches(trial, results),
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
        "baseline_trial_id": planned.baseline_trial_id,
        "clock_trial_id": planned.clock_trial_id,
        "control_of_trial_id": planned.control_of_trial_id,
    }


def _facts(results: Mapping[str, Facts], task_id: str) -> Facts:
    return results.get(task_id, {})


def _work(trial: Trial, shards: Sequence[Facts]) -> dict[str, Any]:
    """Return NFE and FLOPs per image, in all and by step: the log of what ran times the table of what a unit costs."""
    cost = shards[0]["cost"]
    by_step: dict[int, dict[str, Any]] = {}
    for shard in shards:
        for step, rows in shard["evaluations"].items():
            entry = by_step.setdefault(int(step), {"evaluations": 0, "units": {}})
            entry["evaluations"] += rows
            for name, count in shard["units"][step].items():
                entry["units"][name] = entry["units"].get(name, 0) + count
    for entry in by_step.values():
        entry["flops"] = sum(count * cost["units"][name] for name, count in entry["units"].items())
    n = trial.n_images
    flops = sum(entry["flops"] for entry in by_step.values()) / n
    nfe = sum(entry["evaluations"] for entry in by_step.values()) / n
    executor: Any = trial.parts["executor"]
    seconds = sum(s["seconds"] for s in shards)
    return {
        "by_step": by_step,
        "row": {
            "nfe": nfe,
            "flops_per_image": flops,
            **(_overlapped(by_step, shards, n) if executor.parallel else _in_turn(nfe, flops)),
            "flop_coverage": cost["coverage"],
            "parameters": cost["parameters"],
            "network_time_share": sum(s["network_seconds"] for s in shards) / seconds if seconds else None,
        },
    }


def _in_turn(nfe: float, flops: float) -> dict[str, Any]:
    return {"nfe_critical_path": nfe, "flops_critical_path_per_image": flops}


def _overlapped(by_step: Mapping[int, Facts], shards: Sequence[Facts], n: int) -> dict[str, Any]:
    """Return the critical path and what iterating cost; an evaluation there costs its step's mean."""
    critical: Counter[int] = Counter()
    iterations: Counter[int] = Counter()
    for shard in shards:
        critical.update({int(step): evaluations for step, evaluations in shard["critical"].items()})
        iterations.update({int(count): images for count, images in shard["iterations"].items()})
    each = {step: entry["flops"] / entry["evaluations"] for step, entry in by_step.items()}
    row: dict[str, Any] = {
        "nfe_speculative": sum(shard["speculative"] for shard in shards) / n,
        "bytes_sent_per_image": sum(shard["bytes_sent"] for shard in shards) / n,
    }
    if iterations:
        row["iterations"] = sum(count * images for count, images in iterations.items()) / n
        row["iterations_most"] = max(iterations)
    row["distance_to_serial"] = shards[0].get("distance_to_serial")
    if critical:
        row["nfe_critical_path"] = critical.total() / n
        row["flops_critical_path_per_image"] = sum(each[step] * count for step, count in critical.items()) / n
    return row


def _steps(trial: Trial, cost: Facts, by_step: Mapping[int, Facts]) -> list[dict[str, Any]]:
    card = trial.dataset
    sigmas = cost["sigmas"]
    times = [float(t_of_sigma(s, card.sigma_min, card.sigma_max)) for s in sigmas]
    return [
        {
            "step": step,
            "sigma": sigmas[step],
            "sigma_next": sigmas[step + 1],
            "t": times[step],
            "t_next": times[step + 1],
            "nfe": entry["evaluations"] / trial.n_images,
            "flops_per_image": entry["flops"] / trial.n_images,
            "network_share": entry["flops"] / (entry["evaluations"] * cost["network"]),
            "units_json": canonical_json(entry["units"]),
        }
        for step, entry in sorted(by_step.items())
    ]


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


def _distance(shards: Sequence[Facts]) -> Truncation | None:
    """Return the truncation error over the images that were compared, the shards in index order."""
    return truncation(*([value for s in shards for value in s[name]] for name in ("squared_errors", "squared_norms")))


def _truncation(found: Truncation | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "truncation_error": found.value,
        "truncation_error_low": found.low,
        "truncation_error_high": found.high,
        "truncation_images": found.images,
    }


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
    }


def _searches(trial: Trial, results: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """Return what the searches behind a trial tried, in their order."""
    rows = []
    for part, artifact_id in trial.artifacts.items():
        for tried in results[artifact_id]["artifact"].get("history", []):
            candidate = canonical_json(tried["candidate"])
            rows.append({**tried, "part": part, "candidate_json": candidate})
    return [{key: value for key, value in row.items() if key != "candidate"} for row in rows]


def _audit(timed: Mapping[str, str], scored: Mapping[int, str]) -> dict[str, bool]:
    """Return, for each image seen in the timed calls, whether it is byte for byte the scored one."""
    return {index: scored[int(index)] == digest for index, digest in timed.items() if int(index) in scored}
