"""Images made again: alone, in other batches and orders, twice, and under the serial executor."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.check.built_parts import BuiltParts
from harness.check.outcome import CheckOutcome, conclude, not_applicable
from harness.sampling.call_counts import CallCounts
from methods.parts import Executor

BATCH_TOLERANCE = 1e-9
"""Relative difference of final states in double precision that rounding may leave."""
_IMAGES = 6
_FURTHER = range(100, 100 + _IMAGES)


def check_batch_independence(made: BuiltParts) -> CheckOutcome:
    """Make images together, alone, backwards and among others, in double precision."""
    indices = range(_IMAGES)
    with made.built("float64") as sampler:
        together = sampler.run(indices)
        mixed = [index for pair in zip(_FURTHER, indices, strict=True) for index in pair]
        others = {
            "alone": torch.cat([sampler.run([index]) for index in indices]),
            "backwards": sampler.run(indices[::-1]).flip(0),
            "among others": sampler.run(mixed)[1::2],
        }

    worst = {name: _difference(found, together) for name, found in others.items()}
    name = max(worst, key=lambda one: worst[one])
    return conclude(
        worst[name] <= BATCH_TOLERANCE,
        f"made {name}, {_IMAGES} images differ by up to {worst[name]:.1e}" if worst[name] else "bit by bit the same",
        f"{BATCH_TOLERANCE:g} at most, in double precision",
        "compute each row of a batch from that row alone: no mean, norm, sort or count over the batch, no state kept",
    )


def check_repeatability(made: BuiltParts) -> CheckOutcome:
    """Make the same batch twice with one sampler, and once with a second one."""
    indices = range(_IMAGES)
    with made.built() as sampler:
        first, second = sampler.run(indices), sampler.run(indices)
    with made.built() as anew:
        third = anew.run(indices)
    changed = [name for name, one in (("again", second), ("by another sampler", third)) if not torch.equal(first, one)]
    found = f"other bits when made {' and '.join(changed)}" if changed else "bit by bit the same, three times"
    to_do = "draw noise from the argument `noise` alone, and keep nothing from one batch to the next"
    return conclude(not changed, found, "the same bits", to_do)


def check_serial_images(made: BuiltParts) -> CheckOutcome:
    """Compare the images of an executor that overlaps no steps with those of the serial one."""
    executor = made.parts["executor"]
    assert isinstance(executor, Executor)
    if executor.parallel:
        return not_applicable("it overlaps steps: column distance_to_serial has its distance")

    indices = range(_IMAGES)
    with made.built("float64") as sampler:
        found = sampler.run(indices)
    with made.built("float64", serial=True) as sampler:
        wanted = sampler.run(indices)
    apart = _difference(found, wanted)
    return conclude(
        apart <= BATCH_TOLERANCE,
        f"they differ by {apart:.1e}" if apart else "bit by bit the same",
        f"{BATCH_TOLERANCE:g} at most, in double precision",
        "pass each step its own index, level, memory and noise; an executor without parallel = True changes no image",
    )


def check_parallel_trace(made: BuiltParts) -> CheckOutcome:
    """Check that a parallel executor reports its critical path and its refinements."""
    executor = made.parts["executor"]
    assert isinstance(executor, Executor)
    if not executor.parallel:
        return not_applicable("it overlaps no steps")
    counts = CallCounts()
    with made.built() as sampler:
        sampler.run(range(_IMAGES), counts)

    ran, stats = sum(counts.evaluations.values()), counts.executor_stats
    path, images = sum(stats.critical.values()), sum(stats.iterations.values())
    return conclude(
        0 < path <= ran and images == _IMAGES,
        f"a critical path of {path / _IMAGES:.1f} of {ran / _IMAGES:.1f} evaluations, refinements of {images} images",
        f"a path of 1 to all evaluations, and refinements of {_IMAGES} images",
        "fill trace.critical [batch, steps] and trace.iterations [batch] in run()",
    )


def _difference(found: Tensor, wanted: Tensor) -> float:
    """Return the largest relative difference of an image's state."""
    apart = (found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)
    return float(apart.max())
