"""Solvers against diffusers at the same levels. Its schedulers for VP processes hold x / sqrt(1 + sigma^2)."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from kit.solver_kit import GRIDS, START, TO_ZERO, mixture, sample, unit
from torch import Tensor

from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.dpmpp_3m import DPMPP3M
from methods.solvers.heun import Heun
from methods.solvers.ipndm import IPNDM
from methods.solvers.sa_solver import SASolver
from methods.solvers.unipc import UniPC

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:diffusers")


def vp(sigma: float) -> float:
    return 1 / math.sqrt(1 + sigma**2)


def library(scheduler: Any, sigmas: np.ndarray, x: Tensor, levels: Tensor | None = None) -> Tensor:
    """Return the library's answer in EDM's coordinates, its own levels replaced by ours in float64."""
    steps = len(sigmas) - 1
    scheduler.set_timesteps(steps)
    scheduler.sigmas = torch.from_numpy(sigmas) if levels is None else levels
    scheduler.timesteps = torch.arange(steps, 0, -1)
    scheduler.set_begin_index(0)
    x = x * vp(sigmas[0])
    for i in range(steps):
        d = mixture(x / vp(sigmas[i]), float(sigmas[i]))
        x = scheduler.step(d, scheduler.timesteps[i], x, return_dict=False)[0]
    return x / vp(sigmas[-1])


def grid_label(grid: np.ndarray) -> str:
    return f"{len(grid) - 1}-steps-to-{grid[-1]:g}"


@pytest.mark.parametrize("sigmas", GRIDS + TO_ZERO, ids=grid_label)
def test_ddim_is_the_librarys_euler_step_at_the_same_levels(sigmas: np.ndarray) -> None:
    scheduler = diffusers.EulerDiscreteScheduler(prediction_type="sample")
    scheduler.set_timesteps(sigmas=sigmas.tolist())
    scheduler.is_scale_input_called = True
    scheduler.set_begin_index(0)
    x = START
    for i in range(len(sigmas) - 1):
        x = scheduler.step(mixture(x, float(sigmas[i])), torch.tensor(0.0), x, return_dict=False)[0]
    # The library computes in float32.
    torch.testing.assert_close(sample(DDIM(), sigmas, mixture, START), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sigmas", GRIDS + TO_ZERO, ids=grid_label)
def test_heun_is_the_librarys_heun_at_the_same_levels(sigmas: np.ndarray) -> None:
    scheduler = diffusers.HeunDiscreteScheduler(prediction_type="sample")
    scheduler.set_timesteps(len(sigmas))
    scheduler.sigmas = torch.from_numpy(np.concatenate([sigmas[:1], np.repeat(sigmas[1:], 2)]))
    scheduler.set_begin_index(0)
    x = START
    calls = 2 * (len(sigmas) - 1) - (sigmas[-1] == 0)
    for call in range(calls):
        level = float(sigmas[(call + 1) // 2])
        x = scheduler.step(mixture(x, level), torch.tensor(0.0), x, return_dict=False)[0]
    torch.testing.assert_close(sample(Heun(), sigmas, mixture, START), x, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("lower_order_final", [True, False])
@pytest.mark.parametrize("sigmas", GRIDS + TO_ZERO, ids=grid_label)
def test_dpmpp_2m_is_the_librarys_at_the_same_levels_with_the_same_order_at_the_end(
    sigmas: np.ndarray, lower_order_final: bool
) -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++",
        solver_order=2,
        prediction_type="sample",
        lower_order_final=lower_order_final,
        final_sigmas_type="zero" if sigmas[-1] == 0 else "sigma_min",
    )
    ours = sample(DPMPP2M(lower_order_final=lower_order_final), sigmas, mixture, START)
    # The library computes a step in float32; a step of the other order would be off by a thousand times as much.
    torch.testing.assert_close(ours, library(scheduler, sigmas, START), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lower_order_final", [True, False])
@pytest.mark.parametrize("sigmas", GRIDS + TO_ZERO, ids=grid_label)
def test_dpmpp_3m_is_the_librarys_at_the_same_levels(sigmas: np.ndarray, lower_order_final: bool) -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++",
        solver_order=3,
        prediction_type="sample",
        lower_order_final=lower_order_final,
        final_sigmas_type="zero" if sigmas[-1] == 0 else "sigma_min",
    )
    ours = sample(DPMPP3M(lower_order_final=lower_order_final), sigmas, mixture, START)
    torch.testing.assert_close(ours, library(scheduler, sigmas, START), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize(
    ("variant", "lower_order_final", "sigmas"),
    [
        *((variant, final, grid) for variant in ("bh1", "bh2") for final in (True, False) for grid in GRIDS),
        *(("bh2", True, grid) for grid in TO_ZERO),  # the library's other combinations answer NaN at zero
    ],
    ids=lambda v: grid_label(v) if isinstance(v, np.ndarray) else None,
)
def test_unipc_is_the_librarys_at_the_same_levels(
    variant: str, lower_order_final: bool, sigmas: np.ndarray, order: int
) -> None:
    scheduler = diffusers.UniPCMultistepScheduler(
        solver_order=order, solver_type=variant, prediction_type="sample", lower_order_final=lower_order_final
    )
    ours = sample(UniPC(order=order, variant=variant, lower_order_final=lower_order_final), sigmas, mixture, START)
    torch.testing.assert_close(ours, library(scheduler, sigmas, START), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize(("predictor", "corrector"), [(1, 1), (1, 2), (2, 2), (2, 3), (3, 4), (4, 3)])
@pytest.mark.parametrize("tau", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("sigmas", GRIDS, ids=grid_label)
def test_sa_solver_is_the_librarys_at_the_same_levels_with_the_same_noise(
    sigmas: np.ndarray, tau: float, predictor: int, corrector: int, final: bool
) -> None:
    steps = len(sigmas) - 1

    def tau_at(time: Tensor) -> Tensor:
        return torch.tensor(tau if 0.3 <= sigmas[steps - int(time)] <= 2.0 else 0.0, dtype=torch.float64)

    scheduler = diffusers.SASolverScheduler(
        predictor_order=predictor,
        corrector_order=corrector,
        prediction_type="sample",
        lower_order_final=final,
        tau_func=lambda time: torch.tensor(
            tau if 0.3 <= sigmas[steps - int(time)] <= 2.0 else 0.0, dtype=torch.float64
        ),
    )
    scheduler.set_timesteps(steps)
    scheduler.sigmas, scheduler.timesteps = torch.from_numpy(sigmas), torch.arange(steps, 0, -1)
    scheduler.set_begin_index(0)
    generator, x = torch.Generator().manual_seed(7), START * vp(sigmas[0])
    for i in range(steps):
        d = mixture(x / vp(sigmas[i]), float(sigmas[i]))
        x = scheduler.step(d, scheduler.timesteps[i], x, generator=generator, return_dict=False)[0]

    drawn = torch.Generator().manual_seed(7)
    noises = [torch.randn(START.shape, generator=drawn, dtype=torch.float64) for _ in range(steps)]
    solver = SASolver(
        predictor_order=predictor, corrector_order=corrector, tau=tau, s_min=0.3, s_max=2.0, lower_order_final=final
    )
    ours = sample(solver, sigmas, mixture, START, lambda step: noises[step])
    torch.testing.assert_close(ours, x / vp(sigmas[-1]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sigmas", GRIDS + TO_ZERO, ids=grid_label)
def test_ipndm_is_the_librarys_at_the_same_levels(sigmas: np.ndarray) -> None:
    scheduler = diffusers.IPNDMScheduler()
    steps = len(sigmas) - 1
    scheduler.set_timesteps(steps)
    scheduler.alphas = torch.tensor([vp(s) for s in sigmas], dtype=torch.float64)
    scheduler.betas = torch.tensor([s * vp(s) for s in sigmas], dtype=torch.float64)
    scheduler.set_begin_index(0)
    x = START * vp(sigmas[0])
    for i in range(steps):
        alpha, beta = float(scheduler.alphas[i]), float(scheduler.betas[i])
        d = mixture(x / alpha, float(sigmas[i]))
        velocity = alpha * (x - alpha * d) / beta - beta * d  # the library's IPNDM takes v = alpha eps - sigma D
        x = scheduler.step(velocity, scheduler.timesteps[i], x, return_dict=False)[0]
    torch.testing.assert_close(sample(IPNDM(), sigmas, mixture, START), x / vp(sigmas[-1]), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("variance", ["fixedsmall", "fixedlarge"])
@pytest.mark.parametrize("sigmas", [GRIDS[3], TO_ZERO[3]], ids=grid_label)
def test_ddpm_has_the_librarys_mean_and_noise_at_every_step(sigmas: np.ndarray, variance: str) -> None:
    scheduler = diffusers.DDPMScheduler(
        num_train_timesteps=20,
        prediction_type="sample",
        clip_sample=False,
        variance_type={"fixedsmall": "fixed_small", "fixedlarge": "fixed_large"}[variance],
    )
    levels = sigmas[sigmas > 0]
    scheduler.alphas_cumprod = torch.from_numpy(1 / (1 + levels[::-1] ** 2))  # by rising time
    for i in range(len(sigmas) - 1):
        x = sigmas[i] * unit(9, 1, 1, 1, seed=i)
        time = len(levels) - 1 - i
        d = mixture(x, float(sigmas[i]))
        generator = torch.Generator().manual_seed(100 + i)
        theirs = scheduler.step(d, time, x * vp(sigmas[i]), generator=generator, return_dict=False)[0]
        ours = DDPM(variance=variance).step(x, i, sigmas, mixture, None, lambda step: unit(9, 1, 1, 1, seed=100 + step))
        torch.testing.assert_close(ours, theirs / vp(sigmas[i + 1]), rtol=1e-6, atol=1e-7)
