"""How far a parallel executor is from the serial answer, refinement by refinement, on one batch made again."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from harness.sampling.sampler import Sampler, Work
from harness.specs.sample import Refinement, SerialDistance
from methods.parts import Executor


def serial_distance(sampler: Sampler, indices: range, serial: Executor) -> SerialDistance:
    """Return how far these images are from the serial ones, at the stop and after each refinement.

    Serial is the same denoiser, levels, solver and noise under the executor `serial`, which all ranks run alone. What
    this costs is counted nowhere. All ranks must call. A distance is the root of the mean square over all numbers,
    relative to that of the serial answer; a change is the mean of absolute values over the images that had not stopped.
    """
    starts, work = sampler.start(indices), Work()
    iterates: list[Tensor] = []
    final = sampler.run(indices, work, starts, iterates)
    answer = replace(sampler, executor=serial, peers=None).run(indices, start=starts)
    if final.shape != answer.shape:
        return SerialDistance(distance_to_serial=None, refinements=[])
    return SerialDistance(
        distance_to_serial=_distance(final, answer),
        refinements=_refinements(iterates, answer, work.traced.iterations),
    )


def _refinements(iterates: list[Tensor], answer: Tensor, stopped: dict[int, int]) -> list[Refinement]:
    """Return a row per refinement; `stopped` is how many images stopped after how many, if that is known."""
    rows = []
    for p, state in enumerate(iterates):
        still = sum(images for k, images in stopped.items() if k >= p) if stopped else len(answer)
        moved = (state - iterates[p - 1]).double().abs().flatten(1).mean(1).sum() / still if p else None
        row = Refinement(
            refinement=p,
            distance_to_serial=_distance(state, answer),
            change=None if moved is None else _finite(moved),
            images_open=still,
            images=len(answer),
        )
        rows.append(row)
    return rows


def _distance(states: Tensor, answer: Tensor) -> float | None:
    return _finite((states.double() - answer.double()).norm() / answer.double().norm())


def _finite(value: Tensor) -> float | None:
    return float(value) if value.isfinite() else None
