"""What ran in a trial, from what its shards counted: NFE, FLOPs, the critical path, and the rows of its steps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.identity import canonical_json
from harness.specs.sample import Cost, SampleOutput

if TYPE_CHECKING:
    from harness.schema import Row


@dataclass
class StepWork:
    """What ran in one step, summed over all images."""

    evaluations: int = 0
    flops: int = 0
    units: Counter[str] = field(default_factory=Counter)


def work_by_step(shards: Sequence[SampleOutput], cost: Cost) -> dict[int, StepWork]:
    """Return what ran by step: the log of what ran times the table of what a unit costs."""
    by_step: dict[int, StepWork] = defaultdict(StepWork)
    for shard in shards:
        for step, evaluations in shard.counts.evaluations.items():
            by_step[step].evaluations += evaluations
            by_step[step].units.update(shard.counts.units[step])
    for work in by_step.values():
        work.flops = sum(count * cost.units.get(name, 0) for name, count in work.units.items())
    return by_step


def work_columns(by_step: Mapping[int, StepWork], shards: Sequence[SampleOutput], cost: Cost, n_images: int) -> Row:
    """Return NFE and FLOPs per image, in all and on the critical path, and the network's share of the time.

    Of a pipeline whose network is not seen, FLOPs and parameters alone.
    """
    if not cost.sees_network:
        operations = sum(shard.counts.operations for shard in shards)
        return {"flops_per_image": operations / n_images, "parameters": cost.parameters}

    flops = sum(work.flops for work in by_step.values()) / n_images
    nfe = sum(work.evaluations for work in by_step.values()) / n_images
    seconds = sum(shard.seconds for shard in shards)
    parallel = shards[0].serial_distance is not None
    return {
        "nfe": nfe,
        "flops_per_image": flops,
        **(_critical_path(by_step, shards, n_images) if parallel else _serial_path(nfe, flops)),
        "flop_coverage": cost.coverage,
        "decode_flops_per_image": cost.decoder or None,
        "parameters": cost.parameters,
        "network_time_share": sum(shard.network_seconds for shard in shards) / seconds if seconds else None,
    }


def _serial_path(nfe: float, flops: float) -> Row:
    return {"nfe_critical_path": nfe, "flops_critical_path_per_image": flops}


def _critical_path(by_step: Mapping[int, StepWork], shards: Sequence[SampleOutput], n: int) -> Row:
    """Return the critical path and what iterating cost; an evaluation there costs its step's mean."""
    critical: dict[int, float] = defaultdict(float)
    iterations: Counter[int] = Counter()
    for shard in shards:
        for step, evaluations in shard.counts.critical.items():
            critical[step] += evaluations
        iterations.update(shard.counts.iterations)

    each = {step: work.flops / work.evaluations for step, work in by_step.items()}
    row: Row = {
        "nfe_speculative": sum(shard.counts.speculative for shard in shards) / n,
        "bytes_sent_per_image": sum(shard.counts.bytes_sent for shard in shards) / n,
    }

    if iterations:
        row["iterations"] = sum(count * images for count, images in iterations.items()) / n
        row["iterations_most"] = max(iterations)
    distance = shards[0].serial_distance
    row["distance_to_serial"] = None if distance is None else distance.distance_to_serial
    if critical:
        row["nfe_critical_path"] = sum(critical.values()) / n
        row["flops_critical_path_per_image"] = sum(each[step] * count for step, count in critical.items()) / n
    return row


def step_rows(cost: Cost, by_step: Mapping[int, StepWork], n_images: int) -> list[Row]:
    """Return the rows of a trial's steps; `cost` holds the network's FLOPs and the grid, from the first shard."""
    return [
        {
            "step": step,
            "sigma": cost.sigmas[step],
            "sigma_next": cost.sigmas[step + 1],
            "t": cost.times[step],
            "t_next": cost.times[step + 1],
            "nfe": work.evaluations / n_images,
            "flops_per_image": work.flops / n_images,
            "network_share": work.flops / (work.evaluations * cost.network),
            "units_json": canonical_json(dict(work.units)),
        }
        for step, work in sorted(by_step.items())
    ]
