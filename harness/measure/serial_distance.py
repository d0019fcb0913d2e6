"""Distance of a parallel executor's images to the serial ones, per refinement, on one batch sampled again."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from harness.sampling.call_counts import CallCounts
from harness.sampling.sampler import Sampler
from harness.specs.sample import Refinement, SerialDistance
from methods.parts import Executor


def measure_serial_distance(sampler: Sampler, indices: range, serial: Executor) -> SerialDistance:
    """Return the distances of these images to the serial ones, at the stop and after each refinement.

    Serial means the same denoiser, levels, solver and noise under the executor `serial`, which every rank runs alone.
    All ranks must call; neither time nor FLOPs are counted. A distance is the root mean square over all values,
    relative to that of the serial images. A change is the mean absolute value over images that had not stopped.
    """
    initial, call_counts = sampler.initial_state(indices), CallCounts()
    iterates: list[Tensor] = []
    final = sampler.run(indices, call_counts, initial, iterates)
    exact = replace(sampler, executor=serial, peers=None).run(indices, initial_state=initial)
    if final.shape != exact.shape:
        return SerialDistance(distance_to_serial=None, refinements=[])

    return SerialDistance(
        distance_to_serial=_distance(final, exact),
        refinements=_refinements(iterates, exact, call_counts.executor_stats.iterations),
    )


def _refinements(iterates: list[Tensor], exact: Tensor, stopped: dict[int, int]) -> list[Refinement]:
    """Return a row per refinement; `stopped` counts images by their number of refinements, if it is known."""
    rows = []
    for p, state in enumerate(iterates):
        running = sum(images for k, images in stopped.items() if k >= p) if stopped else len(exact)
        moved = (state - iterates[p - 1]).double().abs().flatten(1).mean(1).sum() / running if p else None

        row = Refinement(
            refinement=p,
            distance_to_serial=_distance(state, exact),
            change=None if moved is None else _finite(moved),
            images_open=running,
            images=len(exact),
        )
        rows.append(row)
    return rows


def _distance(states: Tensor, exact: Tensor) -> float | None:
    return _finite((states.double() - exact.double()).norm() / exact.double().norm())


def _finite(value: Tensor) -> float | None:
    return float(value) if value.isfinite() else None
