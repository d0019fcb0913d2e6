"""What the units of a stub pool return: outputs as large as real ones, and arrays from which a score can be told apart.

A unit's features are numbers of its own, and a score is a hash of all features in their order, so that a unit that is
lost, doubled or taken from another trial changes the row.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.specs.base import Output, Price
from harness.specs.fidelity import FidelityOutput, FidelitySpec
from harness.specs.prepare import PrepareOutput
from harness.specs.reference import ReferenceOutput
from harness.specs.sample import Cost, Counts, SampleOutput, SampleSpec
from harness.specs.score import Replicate, ScoreOutput, ScoreSpec
from harness.specs.time import Repetition, TimedBlock, TimeOutput, TimeSpec
from harness.specs.train import TrainOutput
from harness.task import Result, Span, Unit

SECONDS = {"sample": 10.0, "score": 1.0, "time": 5.0, "reference": 1.0}
DIM = 64


def seconds_of(unit: Unit) -> float:
    """Return the virtual seconds of a unit; those of sampling vary by half about their mean."""
    mean = SECONDS.get(unit.task.kind, 1.0)
    return mean if unit.span is None else mean * (0.5 + zlib.crc32(unit.key.encode()) / 2**32)


def result_of(unit: Unit, inputs: Mapping[str, Any]) -> Result:
    """Return what a unit leaves."""
    spec = unit.task.spec
    if isinstance(spec, SampleSpec):
        assert unit.span is not None
        return _images(spec, unit.span, unit.key)
    if isinstance(spec, ScoreSpec):
        return Result(_score(spec, inputs))
    if isinstance(spec, FidelitySpec):
        return Result(_fidelity(spec, inputs))
    if isinstance(spec, TimeSpec):
        return Result(_TIMES.model_copy(update={"alone": spec.alone}))
    known = {"reference": _REFERENCE, "train": _TRAINED, "prepare": _PREPARED}
    return Result(known.get(unit.task.kind, Output()))


def _images(spec: SampleSpec, span: Span, key: str) -> Result:
    n, steps, own = span.stop - span.start, spec.sampler.steps, zlib.crc32(key.encode())
    output = SampleOutput(
        seconds=1.0,
        network_seconds=0.9,
        counts=Counts(
            evaluations=dict.fromkeys(range(steps), n),
            units={step: {"network": n} for step in range(steps)},
            iterations={},
            critical={},
            speculative=own % 1000,
            bytes_sent=0,
        ),
        not_finite=0,
        first_not_finite=None,
        constant=0,
        wrong_shape=None,
        cost=_cost(steps) if span.start == 0 else None,
    )
    arrays: dict[str, np.ndarray] = {  # views of one number each: what the stub hands out is not the driver's memory
        "features": np.broadcast_to(np.float32(own), (n, DIM)),
        "digests": np.broadcast_to(np.uint8(own % 256), (n, 32)),
    }
    if spec.keeps_images:
        arrays["images"] = np.broadcast_to(np.uint8(own % 251), (n, 1, 2, 2))
    return Result(output, arrays)


def _cost(steps: int) -> Cost:
    return Cost(
        units={"network": 64},
        network=64,
        coverage=1.0,
        parameters=9,
        sigmas=[80.0 / 2**k for k in range(steps + 1)],
        times=[1.0 - k / steps for k in range(steps + 1)],
    )


def _score(spec: ScoreSpec, inputs: Mapping[str, Any]) -> ScoreOutput:
    digest = hashlib.sha256()
    for _, unit in sorted(unit for images in spec.images_by_task for unit in images.units()):
        digest.update(inputs[unit].tensors["features"][:, 0].tobytes())
    fid = 1.0 + digest.digest()[0] / 256
    figures = {
        "fid": fid, "fid_low": fid - 0.5, "fid_high": fid + 0.5, "fid_floor": 0.5, "kid": 0.1, "kid_se": 0.1,
        "precision": 0.5, "recall": 0.5,
    }  # fmt: skip
    return ScoreOutput(
        n_images=spec.n_images,
        reference_n=1000,
        figures=figures,
        replicates=[Replicate(group=n, figures={"fid": fid + 0.01 * n, "kid": 0.1}) for n in range(20)],
        reasons=[],
        images_sha256=digest.hexdigest(),
    )


def _fidelity(spec: FidelitySpec, inputs: Mapping[str, Any]) -> FidelityOutput:
    """Return a figure that changes with any unit of either side."""
    digest = hashlib.sha256()
    for side in (spec.images_by_task, spec.partner_by_task):
        for _, unit in sorted(unit for images in side for unit in images.units()):
            digest.update(inputs[unit].tensors["images"].tobytes())
    psnr = 20.0 + digest.digest()[0] / 256
    figures = {
        "psnr": psnr,
        "psnr_low": psnr - 1,
        "psnr_high": psnr + 1,
        "psnr_worst_1pct": 9.0,
        "identical_share": 0.0,
    }
    replicates = [Replicate(group=n, figures={"psnr": psnr + 0.01 * n}) for n in range(20)]
    return FidelityOutput(figures=figures, replicates=replicates, reasons=["no LPIPS: a stub"])


def _times() -> Output:
    calls = ((k, r, n) for k in ("latency", "throughput") for r in ("trial", "baseline") for n in range(11))
    repetitions = [
        Repetition(
            kind=kind, role=role, block=0, round=n, order=n, batch=1, seconds=0.1, process_seconds=0.1,
            device_seconds=None, sm_clock_mhz=None, temperature_celsius=None, foreign_processes=None, throttle=None,
        )
        for kind, role, n in calls
    ]  # fmt: skip
    return TimeOutput(
        repetitions=repetitions, virtual=[], peak_memory_bytes=1, energy_joules_per_image=None, device_name="a chip",
        blocks=[TimedBlock(rounds=11, seconds=2.0, cpu_share=1.0, disturbed_share=0.0, disturbed="")], counted=0,
        own_cpu=True, warm_up_calls=3,
    )  # fmt: skip


_TIMES, _REFERENCE = _times(), ReferenceOutput(n=1000)
_PRICE = Price(seconds=1.0, flops=1.0)
_TRAINED = TrainOutput(price=_PRICE, counter_flops=64, deepspeed_macs=32, counters_agree=True, loss=0.5)
_PREPARED = PrepareOutput(artifact={}, price=_PRICE)
