"""Noise levels of a schedule, computed while planning: what cannot be sampled is refused before anything runs."""

from __future__ import annotations

import numpy as np

from harness.errors import Terminated, UsageError, place_of
from harness.planning.level_range import LevelRange
from methods.parts import Method, Schedule

_TOLERANCE = 1e-4
"""Relative, for published ends that are rounded."""


def check_levels(schedule: Method, steps: int, range_: LevelRange, where: str) -> None:
    """Raise UsageError, with file and line, for a schedule that has no levels in a range at so many steps.

    One that is prepared first has none yet, and passes. It computes what every worker computes once for a sampler.
    """
    if not isinstance(schedule, Schedule) or schedule.prepares:
        return
    what = f'schedule "{schedule.name}" has no levels for {steps} steps on "{where}"'
    try:
        with np.errstate(all="ignore"):
            levels = np.asarray(schedule.levels(steps, range_.low, range_.high), dtype=np.float64)
    except (UsageError, Terminated):
        raise
    except (Exception, SystemExit) as error:  # a plug-in may raise anything
        raise UsageError(f"{what}: {type(error).__name__}: {error}{place_of(error)}") from None

    # what it returned
    if not np.isfinite(levels).all():
        raise UsageError(f"{what}: found {levels.tolist()[:4]}...; expected finite numbers")
    if levels[0] > range_.high * (1 + _TOLERANCE) or levels[-1] < range_.low * (1 - _TOLERANCE):
        raise UsageError(
            f"{what}: its levels go from {levels[0]:g} to {levels[-1]:g}; expected them between {range_.high:g} and "
            f"{range_.low:g}, which the network knows"
        )
