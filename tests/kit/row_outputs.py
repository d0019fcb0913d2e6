"""Outputs of a trial's tasks, made by hand, with figures that one can compute on paper."""

from __future__ import annotations

from typing import Any

from harness.specs.base import Output
from harness.specs.row import RowSpec
from harness.specs.sample import Cost, Counts, SampleOutput
from harness.specs.score import Replicate, ScoreOutput
from harness.specs.time import Repetition, TimedBlock, TimeOutput
from kit import plan_kit

IMAGES = 4
SECONDS = {  # by role: a call of one image, a call of the batch
    "trial": ([0.3, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2], [1.6] * 7),
    "baseline": ([0.4] * 7, [2.4] * 7),
    "serial": ([0.9] * 7, []),
}


QUIET = TimedBlock(rounds=7, seconds=3.5, cpu_share=1.0, disturbed_share=0.0, disturbed="")


def spec(**changes: Any) -> RowSpec:
    """Return a trial of two steps whose images are in two tasks."""
    row = plan_kit.plan(trials=[{"steps": 2}]).trials[-1].row
    return row.model_copy(
        update={
            "n_images": IMAGES, "sample_ids": ("a", "b"), "score_id": "score", "time_id": "time",
            "clock_score_id": "clock", "tier": "smoke", "expect": (), "fid_band": None, "suite": "mine", **changes,
        }
    )  # fmt: skip


def images(**changes: Any) -> SampleOutput:
    """Return what two images left: two evaluations each in step 0, one in step 1, half of that by a smaller head."""
    counts: dict[str, Any] = {
        "evaluations": {0: 4, 1: 2}, "units": {0: {"network": 4}, 1: {"network": 1, "head": 1}},
        "iterations": {}, "critical": {}, "speculative": 0, "bytes_sent": 0,
    }  # fmt: skip
    counts |= changes.pop("counts", {})
    cost = Cost(
        units={"network": 10, "head": 4},
        network=10,
        coverage=1.0,
        parameters=7,
        sigmas=[4.0, 2.0, 0.0],
        times=[1.0, 0.5, 0.0],
    )
    known = {
        "task_seconds": 2.0, "seconds": 1.0, "network_seconds": 0.75, "not_finite": 0, "first_not_finite": None,
        "constant": 0, "wrong_shape": None, "cost": cost,
    }  # fmt: skip
    return SampleOutput(**{**known, **changes}, counts=Counts(**counts))


def score(fid: float, step: float = 0.25) -> ScoreOutput:
    """Return a score whose replicates go up and down about it."""
    ups = [fid + (step if group % 2 else -step) for group in range(4)]
    return ScoreOutput(
        task_seconds=1.0,
        n_images=IMAGES,
        reference_n=9,
        figures={"fid": fid, "kid": 0.5, "fid_low": fid - 1, "fid_high": fid + 1},
        replicates=[Replicate(group=group, figures={"fid": value}) for group, value in enumerate(ups)],
        reasons=[],
        images_sha256="images",
    )


def timing(roles: tuple[str, ...] = ("trial", "baseline"), **changes: Any) -> TimeOutput:
    calls = [
        Repetition(
            kind=kind, role=role, block=0, round=n, order=n, batch=1 if kind == "latency" else 50, seconds=seconds,
            process_seconds=seconds, device_seconds=None, sm_clock_mhz=None, temperature_celsius=None,
            foreign_processes=None, throttle=None,
        )
        for role in roles
        for kind, all_seconds in zip(("latency", "throughput"), SECONDS[role], strict=True)
        for n, seconds in enumerate(all_seconds)
    ]  # fmt: skip
    known: dict[str, Any] = {
        "task_seconds": 4.0, "repetitions": calls, "virtual": [], "peak_memory_bytes": 11,
        "energy_joules_per_image": 0.5, "device_name": "a chip", "blocks": [QUIET], "counted": 0,
        "own_cpu": True, "warm_up_calls": 2,
    }  # fmt: skip
    return TimeOutput(**{**known, **changes})


def outputs(**changes: Output) -> dict[str, Output]:
    known = {
        "a": images(), "b": images(cost=None), "score": score(3.0), "clock": score(5.0), "time": timing(),
        "base": score(2.0, step=-0.25),
    }  # fmt: skip
    return {**known, **changes}
