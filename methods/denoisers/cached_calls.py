"""What caches along a trajectory share: how many calls it has, which are whole, and sentences of refusal.

A cache counts calls, not steps: Heun makes two calls a step, and an estimate that follows the last
level is one more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from methods.denoisers.early_exit_depths import LevelRecorder
from methods.parts import DenoiserParams, Method, PrepareContext, Schedule, Solver


def planned_calls(parts: Mapping[str, Method], steps: int) -> int:
    """Return how many calls a trajectory of these parts has, by what its solver and schedule declare."""
    solver, schedule = parts.get("solver"), parts.get("schedule")
    each = solver.evaluations_per_step if isinstance(solver, Solver) else 1
    return steps * each + (isinstance(schedule, Schedule) and schedule.denoises_last)


def visited_levels(context: PrepareContext) -> list[float]:
    """Return the level of each call of the trial's trajectory, without running its network.

    Only if `prepares_for` has steps, schedule and solver.
    """
    recorder = LevelRecorder()
    context.sample(recorder, range(1), 1)
    return recorder.levels


def interval_refusal(interval: int, calls: int) -> str | None:
    """Return why an interval between whole calls does not fit a trajectory, or None."""
    if interval > calls:
        return (
            f"interval is {interval}, more than the {calls} calls of a trajectory, so that it would run whole once; "
            f"give an interval of {calls} or less, or more steps"
        )
    return None


def guidance_refusal(params: DenoiserParams) -> str | None:
    """Return why the guidance of a denoiser does not fit what is kept row by row, or None."""
    if params.guidance_interval is not None:
        return "guidance_interval changes the rows from call to call, and a cache is kept row by row; leave it out"
    return None


def is_whole_from_start(k: int, interval: int, warm: int) -> bool:
    """Return whether call k is whole: one of the first `warm`, or every interval-th after the last of these."""
    return k < warm or (k - warm + 1) % interval == 0


def is_whole_from_end(k: int, interval: int, calls: int) -> bool:
    """Return whether call k is whole: the first, or every interval-th counted back from the last."""
    return k == 0 or (calls - 1 - k) % interval == 0


def whole_before_cached(whole: Sequence[bool]) -> int | None:
    """Return how many calls before the last cached one are whole; None where none is cached."""
    cached = [k for k, runs in enumerate(whole) if not runs]
    return sum(whole[: cached[-1]]) if cached else None
