"""What ran in a trial, from what its shards counted: NFE, FLOPs, the critical path, and the rows of its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.identity import canonical_json
from harness.trial import Trial

Facts = Mapping[str, Any]


def work_of(trial: Trial, shards: Sequence[Facts]) -> dict[str, Any]:
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


def step_rows(trial: Trial, cost: Facts, by_step: Mapping[int, Facts]) -> list[dict[str, Any]]:
    """Return the rows of a trial's steps; `cost` is what the first shard told of the network and its grid."""
    sigmas, times = cost["sigmas"], cost["times"]
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
