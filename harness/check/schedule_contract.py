"""What a schedule returns: levels for several step counts and ranges, and a refusal of ranges that are none."""

from __future__ import annotations

import numpy as np

from harness.check.built_parts import BuiltParts
from harness.check.candidate import Candidate
from harness.check.outcome import CheckOutcome, conclude, not_applicable
from harness.data.cards import load_card
from methods.parts import Schedule

STEP_COUNTS = (1, 2, 3, 5, 10, 20, 50)
_IMPOSSIBLE = ((0, 0.01, 1.0), (3, 1.0, 0.01), (3, 0.0, 1.0))
"""Steps, lowest and highest level that no schedule can have."""
_SHAPE = "float64 [steps + 1], strictly decreasing, with exact ends"


def check_level_grid(candidate: Candidate) -> CheckOutcome:
    """Compute levels for several step counts, on the data's range and a wider one."""
    schedule = candidate.method
    assert isinstance(schedule, Schedule)
    if schedule.prepares:
        return not_applicable("it is prepared: its levels are checked after that, as prepared-levels")
    card = load_card(candidate.dataset)
    ranges = ((card.sigma_min, card.sigma_max), (0.002, 80.0))

    refused, seen = [], 0
    for steps in STEP_COUNTS:
        for low, high in ranges:
            try:
                levels = schedule.levels(steps, low, high)
            except ValueError as error:
                refused.append(f"{steps} from {high:g} to {low:g} ({error})")
                continue
            if fault := describe_fault(levels, steps, low, high, schedule.own_ends):
                return conclude(False, f"{steps} steps from {high:g} to {low:g}: {fault}", _SHAPE, _to_do())
            if not np.array_equal(levels, schedule.levels(steps, low, high)):
                return conclude(False, f"{steps} steps: other levels in a second call", "the same levels", _to_do())
            seen += 1

    found = f"{seen} grids of {STEP_COUNTS[0]} to {STEP_COUNTS[-1]} steps"
    if refused:
        found += f"; refused {len(refused)}, such as {refused[0]}"
    return conclude(seen > 0, found, _SHAPE, _to_do())


def check_impossible_ranges(candidate: Candidate) -> CheckOutcome:
    """Check that a schedule refuses no steps, a range that does not increase, and one that begins at 0."""
    schedule = candidate.method
    assert isinstance(schedule, Schedule)
    if schedule.prepares:
        return not_applicable("it is prepared for one number of steps and one range")
    taken = []
    for steps, low, high in _IMPOSSIBLE:
        try:
            schedule.levels(steps, low, high)
        except ValueError:
            continue
        taken.append(f"{steps} steps from {high:g} to {low:g}")
    found = f"no ValueError for {', '.join(taken)}" if taken else f"ValueError for {len(_IMPOSSIBLE)} of them"
    return conclude(not taken, found, "ValueError", "begin levels() with methods.grids.ramp, which refuses them")


def check_prepared_levels(made: BuiltParts) -> CheckOutcome:
    """Check the levels that a prepared schedule returns for its artifact."""
    if not made.parts["schedule"].prepares:
        return not_applicable("it is not prepared")
    low, high = made.level_range
    with made.built() as sampler:
        fault = describe_fault(sampler.sigmas, made.steps, low, high, own_ends=False)
    return conclude(not fault, fault or f"{made.steps} steps from {high:g} to {low:g}", _SHAPE, _to_do())


def describe_fault(levels: object, steps: int, low: float, high: float, own_ends: bool) -> str:
    """Return what is wrong with levels; "" where nothing is."""
    if not isinstance(levels, np.ndarray):
        return f"a {type(levels).__name__}"
    if levels.dtype != np.float64 or levels.shape != (steps + 1,):
        return f"{levels.dtype} {list(levels.shape)}"
    if not np.all(np.isfinite(levels)):
        return "a level that is no finite number"
    if not (low <= levels[-1] and levels[0] <= high if own_ends else (levels[0], levels[-1]) == (high, low)):
        return f"ends {float(levels[0])!r} and {float(levels[-1])!r}"
    if not np.all(np.diff(levels) < 0):
        place = int(np.argmax(np.diff(levels) >= 0))
        return f"level {place + 1} is {levels[place + 1]:g} after {levels[place]:g}"
    return ""


def _to_do() -> str:
    return "end levels() with methods.grids.pinned, which sets the ends and refuses levels that do not fall"
