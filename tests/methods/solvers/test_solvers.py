"""Solvers: DDPM on Gaussian data in closed form, and what each solver promises about a step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from kit.solver_kit import ALL, GRIDS, HIGH, LOW, START, TO_ZERO, label, mixture, sample, unit
from pydantic import ValidationError
from torch import Tensor

from methods.parts import Solver
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.deis import DEIS
from methods.solvers.heun_churn import HeunChurn
from methods.solvers.ipndm import IPNDM
from methods.solvers.pfdiff import PFDiff
from methods.solvers.sa_solver import SASolver
from methods.solvers.unipc import UniPC

# Ancestral sampling of Gaussian data, where the posterior of every step is known.


def one_step(solver: DDPM, sigmas: np.ndarray, i: int, c: float) -> tuple[float, float]:
    """Return (a, b): the step maps x to a x + b z on zero-mean Gaussian data of std c, z unit noise."""
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)

    def denoise(x: Tensor, s: float) -> Tensor:
        return c**2 / (c**2 + s**2) * x

    mean = solver.step(one, i, sigmas, denoise, None, lambda step: 0 * one)
    noisy = solver.step(one, i, sigmas, denoise, None, lambda step: one)
    return float(mean), float(noisy - mean)


@pytest.mark.parametrize("c", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("variance", ["fixedsmall", "fixedlarge"])
def test_one_step_of_ddpm_on_gaussian_data_is_the_posterior_in_closed_form(c: float, variance: str) -> None:
    sigmas = EDM().levels(6, 0.002, 80.0)
    for i in range(6):
        s, s_next = sigmas[i], sigmas[i + 1]
        a, b = one_step(DDPM(variance=variance), sigmas, i, c)
        assert a == pytest.approx((c**2 + s_next**2) / (c**2 + s**2), rel=1e-12)  # E[x' | x] = a x
        exact = (c**2 + s_next**2) * (s**2 - s_next**2) / (c**2 + s**2)  # Var[x' | x]
        if (variance, c) in {("fixedsmall", 0.0), ("fixedlarge", 1.0)}:  # the two ends of Ho et al. 2020, section 3.2
            assert b**2 == pytest.approx(exact, rel=1e-12)
        elif variance == "fixedsmall":
            assert b**2 < exact
        else:
            assert b**2 > exact


def final_variance(solver: DDPM, steps: int, c: float) -> float:
    sigmas = EDM().levels(steps, LOW, HIGH)
    total = c**2 + HIGH**2
    for i in range(steps):
        a, b = one_step(solver, sigmas, i, c)
        total = a**2 * total + b**2
    return total


def test_the_final_variance_is_exact_where_the_steps_are_and_first_order_elsewhere() -> None:
    assert final_variance(DDPM(variance="fixedlarge"), 5, 1.0) == pytest.approx(1 + LOW**2, rel=1e-12)
    assert final_variance(DDPM(), 5, 0.0) == pytest.approx(LOW**2, rel=1e-12)
    for variance in ("fixedsmall", "fixedlarge"):
        errors = [abs(final_variance(DDPM(variance=variance), n, 0.5) - 0.25 - LOW**2) for n in (256, 512, 1024)]
        assert np.diff(np.log2(errors)) == pytest.approx([-1, -1], abs=0.1)


def test_ddpm_draws_fresh_noise_at_every_step_and_ends_with_the_predicted_spread() -> None:
    sigmas, rows, asked = EDM().levels(6, LOW, HIGH), 40_000, []

    def noise(step: int) -> Tensor:
        asked.append(step)
        return unit(rows, 1, 1, 1, seed=1 + step)

    start = math.sqrt(0.25 + HIGH**2) * unit(rows, 1, 1, 1)
    end = sample(DDPM(), sigmas, lambda x, s: 0.25 / (0.25 + s**2) * x, start, noise)
    assert asked == list(range(6))
    expected = final_variance(DDPM(), 6, 0.5)
    assert float(end.var()) == pytest.approx(expected, abs=4 * expected * math.sqrt(2 / rows))


# What every solver promises about a step.


# Churn asks above the grid's levels, PFDiff between them.
@pytest.mark.parametrize("solver", [s for s in ALL if not isinstance(s, HeunChurn | PFDiff)], ids=label)
def test_a_solver_asks_for_one_evaluation_a_step_at_its_level_and_heun_for_two(solver: Solver) -> None:
    for sigmas in (GRIDS[3], TO_ZERO[3]):
        asked: list[float] = []

        def denoise(x: Tensor, s: float, asked: list[float] = asked) -> Tensor:
            assert type(s) is float
            asked.append(s)
            return mixture(x, s)

        end = sample(solver, sigmas, denoise, START, lambda step: torch.zeros_like(START))
        assert torch.isfinite(end).all()
        expected = sigmas[:-1] if solver.name != "heun" else [s for s in np.repeat(sigmas, 2)[1:-1] if s > 0]
        assert asked == list(expected)
        if sigmas[-1] > 0:
            assert len(asked) == solver.evaluations_per_step * (len(sigmas) - 1)


# iPNDM and DEIS extrapolate the noise estimate also to zero.
@pytest.mark.parametrize("solver", [s for s in ALL if not isinstance(s, IPNDM | DEIS)], ids=label)
def test_a_step_to_the_level_zero_ends_in_the_data_estimate_of_the_level_before(solver: Solver) -> None:
    sigmas, last = TO_ZERO[3], []

    def denoise(x: Tensor, s: float) -> Tensor:
        last[:] = [mixture(x, s)]
        return last[0]

    end = sample(solver, sigmas, denoise, START, lambda step: torch.ones_like(START))
    torch.testing.assert_close(end, last[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("solver", ALL, ids=label)
def test_a_solver_keeps_nothing_outside_its_memory_and_can_start_anywhere_on_the_grid(solver: Solver) -> None:
    def zero(step: int) -> Tensor:
        return torch.zeros_like(START)

    grid = EDM().levels(12, LOW, HIGH)
    whole = sample(solver, grid, mixture, START, zero)
    assert torch.equal(whole, sample(solver, grid, mixture, START, zero))
    memory, x = solver.init_memory(solver.artifact), START
    for i in range(4, 12):
        x = solver.step(x, i, grid, mixture, memory, zero)
    assert torch.equal(x, sample(solver, grid[4:], mixture, START, zero))


@pytest.mark.parametrize("solver", ALL, ids=label)
def test_what_a_class_says_of_its_history_and_noise_is_true(solver: Solver) -> None:
    grid, asked = EDM().levels(6, LOW, HIGH), []

    def noise(step: int) -> Tensor:
        asked.append(step)
        return torch.ones_like(START)

    def forgetting() -> Tensor:
        x = START
        for i in range(6):
            x = solver.step(x, i, grid, mixture, solver.init_memory(solver.artifact), noise)
        return x

    remembers = not torch.equal(forgetting(), sample(solver, grid, mixture, START, noise))
    assert remembers == solver.multistep
    assert bool(asked) == solver.stochastic


@pytest.mark.parametrize("solver", ALL, ids=label)
def test_a_state_in_single_precision_stays_so(solver: Solver) -> None:
    end = sample(solver, GRIDS[3], mixture, START.float(), lambda step: torch.zeros_like(START.float()))
    assert end.dtype == torch.float32
    exact = sample(solver, GRIDS[3], mixture, START, lambda step: torch.zeros_like(START))
    torch.testing.assert_close(end.double(), exact, rtol=1e-5, atol=1e-5)


def test_parameters_out_of_range_are_refused() -> None:
    for kind, wrong in (
        (IPNDM, {"order": 1}),
        (IPNDM, {"order": 5}),
        (UniPC, {"order": 1}),
        (UniPC, {"order": 4}),
        (UniPC, {"variant": "bh3"}),
        (DDPM, {"variance": "learned"}),
        (DDIM, {"eta": 0.0}),
        (PFDiff, {"k": 4}),
        (PFDiff, {"k": 1, "h": 2}),
        (SASolver, {"tau": -0.1}),
        (SASolver, {"predictor_order": 5}),
        (SASolver, {"corrector_order": 0}),
        (SASolver, {"s_min": 2.0, "s_max": 1.0}),
    ):
        with pytest.raises(ValidationError):
            kind(**wrong)
