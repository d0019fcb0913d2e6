"""The levels of every schedule that is a formula: baselines of schedules that are optimised for a network."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from methods.schedules.arctan import Arctan
from methods.schedules.cosine import Cosine
from methods.schedules.edm import EDM
from methods.schedules.logsnr import LogSNR
from methods.schedules.quadratic_t import QuadraticT
from methods.schedules.uniform_sigma import UniformSigma
from methods.schedules.uniform_t import UniformT

_HAND_MADE = (EDM, LogSNR, Arctan, UniformT, QuadraticT, Cosine, UniformSigma)


def hand_made(steps: int, sigma_min: float, sigma_max: float) -> dict[str, np.ndarray]:
    """Return the levels [steps + 1] of every schedule without preparation, by name, if it has such a range."""
    made = {}
    for schedule in _HAND_MADE:
        with suppress(ValueError):  # no VP process has such a range
            made[schedule.name] = schedule().levels(steps, sigma_min, sigma_max)
    return made
