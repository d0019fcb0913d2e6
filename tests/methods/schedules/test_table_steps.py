"""Grids of whole steps: DDIM's published levels, each at an integer of the table, and the images of diffusers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.networks.preconditioned import PreconditionedParams
from methods.networks.preconditioning import Vp
from methods.networks.vp_process import BetaTable, DiscreteBeta
from methods.schedules.ddim_quadratic import DDIMQuadratic
from methods.schedules.ddim_uniform import DDIMUniform
from methods.schedules.edm import EDM
from methods.schedules.flow_uniform import FlowUniform
from methods.solvers.ddim import DDIM

TABLE = (0.01, 157.41)


def taus(levels: np.ndarray) -> np.ndarray:
    return DiscreteBeta().label(DiscreteBeta().time(torch.from_numpy(levels))).numpy()


@pytest.mark.parametrize(("levels", "first", "sigma"), [(10, 900, 60.8), (20, 950, 97.1), (100, 990, 143.8)])
def test_the_uniform_grid_begins_where_the_published_runs_do(levels: int, first: int, sigma: float) -> None:
    found = DDIMUniform().levels(levels - 1, *TABLE)
    assert found[0] == pytest.approx(sigma, abs=0.05)
    assert np.allclose(taus(found), np.arange(first, -1, -1000 // levels), atol=1e-9, rtol=0)


def test_the_quadratic_grid_begins_at_eight_tenths() -> None:
    found = DDIMQuadratic().levels(9, *TABLE)
    assert found[0] == pytest.approx(25.74, abs=0.005)
    assert np.allclose(taus(found), [800, 632, 483, 355, 246, 158, 88, 39, 9, 0], atol=1e-9, rtol=0)


def test_repeated_steps_of_the_quadratic_grid_are_dropped_where_their_number_is_named() -> None:
    with pytest.raises(ValueError, match=r"100 points on 1000 steps give 96 distinct levels, .* points = 100 and"):
        DDIMQuadratic().levels(99, *TABLE)
    found = taus(DDIMQuadratic(points=100).levels(95, *TABLE))
    theirs = [int(root) for root in np.linspace(0, math.sqrt(800), 100) ** 2]
    assert np.allclose(found[::-1], sorted(set(theirs)), atol=1e-9, rtol=0)


def test_a_number_of_levels_that_does_not_divide_the_table_leads_as_in_diffusers() -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_start=1e-4, beta_end=0.02)
    scheduler.set_timesteps(11)
    assert np.allclose(taus(DDIMUniform().levels(10, *TABLE)), scheduler.timesteps.numpy(), atol=1e-9, rtol=0)
    with pytest.raises(ValueError, match="2000 points on 1000 steps give 1 distinct levels"):
        DDIMUniform().levels(1999, *TABLE)


@pytest.mark.parametrize("schedule", [DDIMUniform(), DDIMQuadratic()])
def test_a_trajectory_begins_at_unit_variance_in_the_process(schedule: DDIMUniform | DDIMQuadratic) -> None:
    levels = schedule.levels(9, *TABLE)
    assert schedule.initial_scale(levels) == pytest.approx(math.hypot(1, levels[0]), rel=1e-14)
    assert EDM().initial_scale(levels) == levels[0]


def test_a_network_of_another_table_is_refused() -> None:
    fits = [PreconditionedParams(preconditioning=name) for name in ("vp-discrete", "vp", "edm")]
    wide = PreconditionedParams(preconditioning="vp-discrete", betas={"end": 0.03})  # type: ignore[arg-type]
    latent, cosine = (PreconditionedParams(preconditioning=name) for name in ("vp-latent", "cosine"))
    assert [DDIMUniform().refusal({}, 9, network) for network in fits] == [None] * 3
    for other in (wide, latent, cosine):
        assert "trained on the steps of other betas" in str(DDIMUniform().refusal({}, 9, other))
    assert DDIMUniform(betas={"end": 0.03}).refusal({}, 9, wide) is None
    scaled = {"start": 0.00085, "end": 0.012, "schedule": "scaled-linear"}
    assert DDIMQuadratic(betas=scaled).refusal({}, 9, latent) is None


@pytest.mark.parametrize("count", [10, 50])
def test_ddim_on_the_uniform_grid_makes_the_images_of_diffusers(count: int) -> None:
    from diffusers import DDIMScheduler

    def network(x: Tensor, label: Tensor) -> Tensor:
        return torch.tanh(x * (1 + label.view(-1, 1, 1, 1) / 1000))

    scheduler = DDIMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(count)
    noise = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = noise
    for step in scheduler.timesteps.tolist():
        x = scheduler.step(network(x, torch.full((4,), float(step))), step, x, eta=0.0).prev_sample

    process, schedule = Vp(DiscreteBeta(BetaTable())), DDIMUniform(final="denoise")
    sigmas = schedule.levels(count - 1, *TABLE)
    state = noise * schedule.initial_scale(sigmas)

    def denoise(x: Tensor, level: float) -> Tensor:
        return process.denoise(network, x, x.new_full((len(x),), level), torch.float64)

    for i in range(count - 1):
        state = DDIM().step(state, i, sigmas, denoise, None, lambda step: noise)
    state = denoise(state, float(sigmas[-1]))
    assert float((state - x).norm() / x.norm()) < 2e-4


def test_flow_levels_are_even_in_the_flow_s_time() -> None:
    levels = FlowUniform().levels(7, 0.001, 1000.0)
    assert np.allclose(np.diff(1 / (1 + levels)), (1 / 1.001 - 1 / 1001) / 7, rtol=1e-12)
    assert (levels[0], levels[-1]) == (1000.0, 0.001)
