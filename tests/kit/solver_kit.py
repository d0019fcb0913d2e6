"""What the tests of the solvers share: every solver, a loop, and a problem that is not linear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams
from methods.parts import Solver
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.deis import DEIS
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.dpmpp_3m import DPMPP3M
from methods.solvers.heun import Heun
from methods.solvers.heun_churn import HeunChurn
from methods.solvers.ipndm import IPNDM
from methods.solvers.unipc import UniPC

Denoise = Callable[[Tensor, float], Tensor]

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
]
ALL: list[Solver] = [*DETERMINISTIC, DDPM(), DDPM(variance="fixedlarge"), HeunChurn()]


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
