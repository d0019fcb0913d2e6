"""Solvers: order of convergence, what they integrate exactly, and mutants that do not."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from kit.solver_kit import DETERMINISTIC, HIGH, LOW, START, label, mixture, no_noise, sample, unit
from numpy.polynomial import Polynomial
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from methods.parts import Solver
from methods.schedules.edm import EDM
from methods.schedules.logsnr import LogSNR
from methods.solvers.ddim import DDIM
from methods.solvers.deis import DEIS
from methods.solvers.dpm_v3 import DPMSolverV3
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.dpmpp_3m import DPMPP3M
from methods.solvers.ipndm import IPNDM
from methods.solvers.pfdiff import PFDiff
from methods.solvers.sa_solver import SASolver
from methods.solvers.unipc import UniPC


@pytest.fixture(scope="module")
def exact_end() -> Tensor:
    def slope(log_sigma: float, y: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(y).view(-1, 1, 1, 1)
        return (x - mixture(x, math.exp(log_sigma))).flatten().numpy()

    span = (math.log(HIGH), math.log(LOW))
    found = solve_ivp(slope, span, START.flatten().numpy(), method="DOP853", rtol=1e-13, atol=1e-13)
    return torch.from_numpy(found.y[:, -1].copy()).view(9, 1, 1, 1)


def slope_of(solver: Solver, exact: Tensor, counts: tuple[int, ...] = (32, 64, 128, 256, 512)) -> float:
    """Return the slope of log error against log N over the finer half of the counts, on EDM's grid."""
    errors = [float((sample(solver, EDM().levels(n, LOW, HIGH), mixture, START) - exact).abs().max()) for n in counts]
    assert all(a > b for a, b in pairwise(errors))
    return float(np.polyfit(np.log(counts[-3:]), np.log(errors[-3:]), 1)[0])


def asymptotic_order(solver: Solver) -> float:
    """Return what theory says: UniPC-p is of order p + 1 while no first-order step ends it."""
    if isinstance(solver, PFDiff):
        return 2 if 2 * solver.params.h == solver.params.k + 1 else 1
    if isinstance(solver, SASolver):
        reached = min(solver.params.corrector_order, solver.params.predictor_order + 1)
        return min(reached, 2) if solver.params.lower_order_final else reached
    if isinstance(solver, UniPC) and not solver.params.lower_order_final:
        return 1 + solver.params.order
    return solver.order


@pytest.mark.parametrize("solver", DETERMINISTIC, ids=label)
def test_the_error_falls_with_the_order_of_the_solver(solver: Solver, exact_end: Tensor) -> None:
    # UniPC-3's first step is of third order in all, but its share is below 1e-9 here and fourth order is seen.
    slope = slope_of(solver, exact_end)
    if (
        isinstance(solver, DEIS | DPMPP3M | DPMSolverV3) and solver.multistep
    ):  # the first step's share is not the largest yet
        assert -1 - getattr(solver.params, "order", 3) < slope < 0.1 - solver.order
    else:
        assert slope == pytest.approx(-asymptotic_order(solver), abs=0.1)


class WrongEnd(DDIM):
    """A mutant: asks for D at the end of the step."""

    def step(self, x, i, sigmas, denoise, memory, noise):  # type: ignore[no-untyped-def]
        ratio = float(sigmas[i + 1] / sigmas[i])
        return ratio * x + (1 - ratio) * denoise(x, float(sigmas[i + 1]))


class Forgetful2M(DPMPP2M):
    """A mutant: no history."""

    def step(self, x, i, sigmas, denoise, memory, noise):  # type: ignore[no-untyped-def]
        return super().step(x, i, sigmas, denoise, [], noise)


class NoRatio2M(DPMPP2M):
    """A mutant: takes 1 / r for r."""

    def step(self, x, i, sigmas, denoise, memory, noise):  # type: ignore[no-untyped-def]
        if i == 0:
            return super().step(x, i, sigmas, denoise, memory, noise)
        levels = sigmas.copy()
        levels[i - 1] = sigmas[i] * (sigmas[i] / sigmas[i + 1]) ** 2
        return super().step(x, i, levels, denoise, memory, noise)


class ForgetfulIPNDM(IPNDM):
    """A mutant: forgets what came before."""

    def step(self, x, i, sigmas, denoise, memory, noise):  # type: ignore[no-untyped-def]
        return super().step(x, i, sigmas, denoise, [], noise)


class Uncorrected(UniPC):
    """A mutant: the predictor alone."""

    def step(self, x, i, sigmas, denoise, memory, noise):  # type: ignore[no-untyped-def]
        memory.x = None
        return super().step(x, i, sigmas, denoise, memory, noise)


@pytest.mark.parametrize(
    ("mutant", "order"),
    [(Forgetful2M(), 1), (NoRatio2M(), 1), (ForgetfulIPNDM(), 1), (Uncorrected(order=2, lower_order_final=False), 2)],
    ids=["2m-no-history", "2m-wrong-ratio", "ipndm-no-history", "unipc-no-corrector"],
)
def test_a_mutant_shows_a_lower_order_than_the_solver_it_imitates(
    mutant: Solver, order: int, exact_end: Tensor
) -> None:
    assert slope_of(mutant, exact_end, (64, 128, 256)) == pytest.approx(-order, abs=0.15)
    assert order < asymptotic_order(mutant)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_ipndm_integrates_polynomials_exactly_on_equal_steps_after_its_warm_up(order: int) -> None:
    d = Polynomial([0.3, -1.2, 0.8, 2.1][:order])
    integral = d.integ()
    sigmas = np.linspace(3.0, 0.5, 9)
    solver = IPNDM(order=order)
    memory = solver.init_memory(None)
    x = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    for i in range(8):
        after = solver.step(x, i, sigmas, lambda y, s: y - s * d(s), memory, no_noise)
        exact = integral(sigmas[i + 1]) - integral(sigmas[i])
        if i >= order - 1:
            assert float(after - x) == pytest.approx(exact, rel=1e-12)
        else:
            assert abs(float(after - x) - exact) > 1e-3
        x = after


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
def test_unipc_of_order_three_is_exact_for_data_estimates_quadratic_in_log_sigma(variant: str) -> None:
    # For D = (log sigma)^2, d/dl (x e^l) = D e^l with l = -log sigma has the solution x = l^2 - 2 l + 2 + a e^-l.
    sigmas = LogSNR().levels(7, LOW, HIGH)
    solver = UniPC(order=3, variant=variant, lower_order_final=False)
    memory = solver.init_memory(None)
    x = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    for i in range(7):
        x = solver.step(x, i, sigmas, lambda y, s: torch.full_like(y, math.log(s) ** 2), memory, no_noise)
        ends = []
        for state, sigma in ((memory.x, sigmas[i]), (x, sigmas[i + 1])):
            lam = -math.log(sigma)
            ends.append((float(state) - (lam**2 - 2 * lam + 2)) / sigma)  # the constant a along the way
        if i >= 2:
            assert ends[0] == pytest.approx(ends[1], rel=1e-12)
        else:
            assert abs(ends[0] - ends[1]) > 1e-3


# Euler as a convex combination of the network's answers (specification of the few-step schedule, section 2.2).


def test_euler_is_a_convex_combination_in_both_forms_for_a_random_network() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 12)).double().requires_grad_(False)
    sigmas = EDM().levels(9, 0.002, 80.0)
    outputs: list[tuple[Tensor, Tensor]] = []

    def denoise(x: Tensor, s: float) -> Tensor:
        d = 3 * net(torch.cat([x / (1 + s), torch.full((len(x), 1), math.log(s), dtype=x.dtype)], 1))
        outputs.append((d, (x - d) / s))
        return d

    x0 = 80 * unit(4, 12)
    x_end = sample(DDIM(), sigmas, denoise, x0)
    s0, s_end = sigmas[0], sigmas[-1]
    w = s_end * (1 / sigmas[1:] - 1 / sigmas[:-1])
    v = (sigmas[:-1] - sigmas[1:]) / (s0 - s_end)
    assert (w >= 0).all()
    assert (v >= 0).all()
    assert s_end / s0 + w.sum() == pytest.approx(1, abs=1e-12)
    assert v.sum() == pytest.approx(1, abs=1e-12)
    data_form = s_end / s0 * x0 + sum(a * d for a, (d, _) in zip(w, outputs, strict=True))
    noise_form = x0 - (s0 - s_end) * sum(a * e for a, (_, e) in zip(v, outputs, strict=True))
    size = float(x_end.norm())
    assert float((data_form - x_end).norm()) <= 1e-12 * size
    assert float((noise_form - x_end).norm()) <= 1e-12 * float(x0.norm())
    mutant = sample(WrongEnd(), sigmas, denoise, x0)
    assert float((data_form - mutant).norm()) > 1e-3 * size
