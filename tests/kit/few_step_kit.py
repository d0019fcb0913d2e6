"""What the tests of few-step schedules share: Gaussian data, on which Euler's error is known, and mixtures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kit.solver_kit import unit
from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, Network, NetworkParams
from methods.schedules.search.teacher import end
from methods.solvers.ddim import DDIM

LOW, HIGH = 0.002, 80.0
C = 0.5  # standard deviation of the Gaussian data


class Diagonal(Network):
    """The exact denoiser of Gaussian data whose values are independent, each of its own standard deviation."""

    def __init__(self, stds: list[float], resolution: int) -> None:
        super().__init__(NetworkParams(), DataShape(1, resolution))
        self.register_buffer("variances", torch.tensor(stds, dtype=torch.float64).view(1, resolution, resolution) ** 2)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        assert isinstance(self.variances, Tensor)
        return x * (self.variances / (self.variances + sigma.view(-1, 1, 1, 1) ** 2))


ONE = Diagonal([C], 1)
START = torch.full((1, 1, 1, 1), HIGH, dtype=torch.float64)


def exact_end(start: Tensor, std: float = C) -> Tensor:
    return start * ((std**2 + LOW**2) / (std**2 + HIGH**2)) ** 0.5


def relative_error(levels: np.ndarray) -> float:
    return abs(float(end(ONE, DDIM(), START, levels) / exact_end(START)) - 1)


def mixture(seed: int) -> Analytic:
    """Return the exact denoiser of six narrow Gaussians in 16 dimensions, for noise from 40 to 0.01."""
    facts = {"means": unit(6, 16, seed=seed).tolist(), "stds": [0.25] * 6, "weights": [1.0] * 6}
    return Analytic(NetworkParams(), DataShape(1, 4, facts))
