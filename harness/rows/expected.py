"""What rules expect of figures that are not equal by construction: values by theory, and mean work of images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.rows.evidence import RuleFinding, TrialEvidence, per_image
from harness.specs.audits import BatchWork, TimedWork
from harness.specs.row import Expectation
from harness.specs.rules.bounds import WORK_TOLERANCE

_ROUNDING = 1e-9
"""Of shares that are quotients of whole numbers."""


def expected_value(known: Expectation, n_images: int) -> tuple[float, float]:
    """Return the answer for so many images, and by how much a row may miss it."""
    value = known.value + known.per_image / n_images
    slack = known.absolute + known.relative * abs(value)
    return value, slack if known.noise_at is None else slack * math.sqrt(known.noise_at / n_images)


def mean_work(known: TrialEvidence, calls: Sequence[TimedWork]) -> Iterator[RuleFinding]:
    """Compare the mean work of calls with that of the scored images, whose batches say how much images differ."""
    images = sum(one.images * one.calls for one in calls)
    for name in sorted({"evaluations", *(unit for batch in known.batches for unit in batch.work.units)}):
        scored = [_amount(batch, name) / batch.images for batch in known.batches]
        mean = sum(scored) / len(scored)
        timed = sum(_amount(one, name) * one.calls for one in calls) / images

        # batches show how much images differ; where few are known, as much as rare events do
        squares = [(one - mean) ** 2 * b.images for one, b in zip(scored, known.batches, strict=True)]
        variance = max(sum(squares) / len(squares), mean)
        slack = WORK_TOLERANCE * mean + 6 * math.sqrt(variance / images)
        expected = f"{mean:.4g} within {slack:.2g}"
        yield RuleFinding(abs(timed - mean) <= slack, f"{timed:.4g} {name} an image in timed calls", expected)


def refined_work(known: TrialEvidence, calls: Sequence[TimedWork]) -> Iterator[RuleFinding]:
    """Compare calls of an executor that refines all images of a batch until the last one has converged.

    A refinement costs as much each time, after a first sweep: an image alone that needs fewer than its batch takes
    less, but no less than in proportion.
    """
    most = max(count for batch in known.batches for count in batch.work.iterations)
    batch = known.batches[0]
    names = ("evaluations", *sorted(batch.work.units))
    scored = {name: _amount(batch, name) / batch.images for name in names}

    def is_like(one: TimedWork) -> bool:
        share = max(one.work.iterations, default=most) / most if most else 1.0
        least, highest = min(share, 1.0) * (1 - _ROUNDING), max(share, 1.0) * (1 + _ROUNDING)
        shares = [_amount(one, name) / one.images / scored[name] for name in names if scored[name]]
        return all(found == 1.0 if share == 1.0 else least <= found <= highest for found in shares)

    unlike = [one for one in calls if not is_like(one)]
    found = f"{len(unlike)} of {len(calls)} kinds of call did other work" + (
        f": {describe_work(unlike[0])}" if unlike else ""
    )
    expected = (
        f"{scored['evaluations']:.6g} evaluations an image in {most} refinements, in fewer no less than in proportion, "
        "and units alike"
    )
    yield RuleFinding(not unlike, found, expected)


def _amount(one: BatchWork | TimedWork, name: str) -> float:
    return float(one.work.evaluations or 0) if name == "evaluations" else float(one.work.units.get(name, 0))


def describe_work(one: TimedWork) -> str:
    """Return what the calls did, for an image."""
    evaluations, units = per_image(one.work, one.images)
    ran = ", ".join(f"{count:.6g} {name}" for name, count in units)
    return f"{one.kind} from image {one.first} on ran {evaluations or 0:.6g} evaluations an image ({ran})"
