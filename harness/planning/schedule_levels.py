"""Noise levels of a schedule, computed while planning: what cannot be sampled is refused before anything runs."""

from __future__ import annotations

import numpy as np

from harness.data.cards import DatasetCard
from harness.errors import Terminated, UsageError, place_of
from methods.parts import Method, Schedule


def check_levels(schedule: Method, steps: int, card: DatasetCard) -> None:
    """Raise UsageError, with file and line, for a schedule that has no levels for a data set at so many steps.

    One that is prepared first has none yet, and passes. It computes what every worker computes once for a sampler.
    """
    if not isinstance(schedule, Schedule) or schedule.prepares:
        return
    what = f'schedule "{schedule.name}" has no levels for {steps} steps on "{card.name}"'
    try:
        with np.errstate(all="ignore"):
            levels = np.asarray(schedule.levels(steps, card.sigma_min, card.sigma_max), dtype=np.float64)
    except (UsageError, Terminated):
        raise
    except (Exception, SystemExit) as error:  # a plug-in may raise anything
        raise UsageError(f"{what}: {type(error).__name__}: {error}{place_of(error)}") from None
    if not np.isfinite(levels).all():
        raise UsageError(f"{what}: found {levels.tolist()[:4]}...; expected finite numbers")
