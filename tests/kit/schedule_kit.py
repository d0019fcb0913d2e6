"""What tests of prepared schedules share: exact networks, a whole preparation, and Euler's error in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from kit.toy_context import ToyContext
from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, Network, NetworkParams
from methods.parts import Artifact, Done, Schedule

HIGH, LOW = 80.0, 0.002
STD = 0.5


def gaussian(side: int = 2, std: float = STD) -> Analytic:
    """Return the denoiser of data N(0, std² I), images [1, side, side]."""
    facts = {"means": [[0.0] * side**2], "stds": [std], "weights": [1.0]}
    return Analytic(NetworkParams(), DataShape(1, side, facts))


def mixture(side: int = 4) -> Analytic:
    """Return the denoiser of six Gaussians of std 0.25 around means from N(0, I)."""
    means = torch.randn(6, side**2, generator=torch.Generator().manual_seed(3)).tolist()
    return Analytic(NetworkParams(), DataShape(1, side, {"means": means, "stds": [0.25] * 6, "weights": [1.0] * 6}))


def context(network: Network, steps: int, **others: Any) -> ToyContext:
    """Return what a preparation of this many steps between 80 and 0.002 is given."""
    return ToyContext(network, steps=steps, sigma_min=LOW, sigma_max=HIGH, **others)


def prepared(schedule: Schedule, given: ToyContext) -> tuple[np.ndarray, Artifact]:
    """Return the levels of a schedule after its whole preparation, search included, and the artifact."""
    done: list[Done] = []
    while jobs := schedule.next_jobs(given.steps, given.network.params, done):
        done += [Done(job, schedule.do(given, job)) for job in jobs]
    given.done = done
    artifact = schedule.prepare(given)
    return schedule.levels(given.steps, given.sigma_min, given.sigma_max, artifact), artifact


def euler_error(levels: np.ndarray, std: float = STD) -> float:
    """Return Euler's relative error on data N(0, std² I): 1 - prod cos of the steps in arctan(sigma / std)."""
    return float(1 - np.cos(np.diff(np.arctan(levels / std))).prod())


def check(levels: np.ndarray, steps: int) -> None:
    """Assert that these are levels of that many steps from 80 to 0.002."""
    assert levels.dtype == np.float64
    assert levels.shape == (steps + 1,)
    assert (levels[0], levels[-1]) == (HIGH, LOW)
    assert np.all(np.diff(levels) < 0)
