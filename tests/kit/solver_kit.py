"""What the tests of the solvers share: every solver, a loop, and a problem that is not linear."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams
from methods.parts import Artifact, Solver
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.deis import DEIS
from methods.solvers.dpm_v3 import DPMSolverV3
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.dpmpp_3m import DPMPP3M
from methods.solvers.heun import Heun
from methods.solvers.heun_churn import HeunChurn
from methods.solvers.ipndm import IPNDM
from methods.solvers.pfdiff import PFDiff
from methods.solvers.sa_solver import SASolver
from methods.solvers.unipc import UniPC

Denoise = Callable[[Tensor, float], Tensor]


def smooth_statistics(channels: int = 1, side: int = 1) -> Artifact:
    """Return statistics for dpm-v3 that are of no network, smooth in lam, from 20 to 0.01."""
    lam = -torch.linspace(math.log(20), math.log(0.01), 121, dtype=torch.float64).view(-1, 1, 1, 1)
    ones = torch.ones(1, channels, side, side, dtype=torch.float64)
    tensors = {"l": 0.6 - 0.3 * lam.tanh(), "s": 0.2 * lam.sin(), "b": 0.4 * (lam / 2).cos()}
    return Artifact({name: value * ones for name, value in tensors.items()}, {"sigma_max": 20.0, "sigma_min": 0.01})


def with_statistics(**params: Any) -> DPMSolverV3:
    """Return DPM-Solver-v3 with those."""
    solver = DPMSolverV3(**params)
    solver.artifact = smooth_statistics()
    return solver


DETERMINISTIC: list[Solver] = [
    DDIM(),
    Heun(),
    DPMPP2M(),
    DPMPP2M(lower_order_final=False),
    DPMPP3M(),
    DPMPP3M(lower_order_final=False),
    *(DEIS(order=order, time=time) for order in (1, 2, 3) for time in ("vp", "sigma")),
    *(IPNDM(order=order) for order in (2, 3, 4)),
    *(
        UniPC(order=order, variant=variant, lower_order_final=final)
        for order in (2, 3)
        for variant in ("bh1", "bh2")
        for final in (True, False)
    ),
    *(PFDiff(k=k, h=h) for k, h in ((1, 1), (2, 1), (2, 2), (3, 2))),
    *(
        SASolver(predictor_order=p, corrector_order=c, tau=0, lower_order_final=final)
        for p, c in ((1, 1), (1, 2), (2, 2), (2, 3), (3, 4))
        for final in (True, False)
    ),
    with_statistics(),
    with_statistics(corrector="none", lower_order_final=False),
    with_statistics(order=2, corrector="same"),
]
ALL: list[Solver] = [*DETERMINISTIC, DDPM(), DDPM(variance="fixedlarge"), HeunChurn(), SASolver()]


def label(value: Any) -> str | None:
    return f"{value.name} {value.params}".replace(" ", "-") if isinstance(value, Solver) else None


def no_noise(step: int) -> Tensor:
    raise AssertionError("a deterministic solver asked for noise")


def sample(
    solver: Solver, sigmas: np.ndarray, denoise: Denoise, x: Tensor, noise: Callable[[int], Tensor] = no_noise
) -> Tensor:
    memory = solver.init_memory(solver.artifact)
    for i in range(len(sigmas) - 1):
        x = solver.step(x, i, sigmas, denoise, memory, noise)
    return x


def unit(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# A problem that is not linear: a mixture of two Gaussians on a line, and the flow from 5 to 0.05.

HIGH, LOW = 5.0, 0.05
MIXTURE = Analytic(
    NetworkParams(), DataShape(1, 1, {"means": [[-0.6], [0.7]], "stds": [0.2, 0.35], "weights": [0.4, 0.6]})
)
START = HIGH * torch.linspace(-2, 2, 9, dtype=torch.float64).view(9, 1, 1, 1)


def mixture(x: Tensor, sigma: float) -> Tensor:
    return MIXTURE(x, torch.full((len(x),), sigma, dtype=torch.float64))


GRIDS = [EDM().levels(n, LOW, HIGH) for n in (1, 2, 3, 5, 10, 14, 15, 20)]
TO_ZERO = [np.append(grid, 0.0) for grid in GRIDS]
