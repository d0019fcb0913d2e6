"""DEIS: exact for polynomials in its time. EDM's stochastic sampler: its algorithm, and the law that it keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from kit.solver_kit import START, mixture, no_noise, sample, unit
from torch import Tensor

from methods.networks.vp_process import LinearBeta
from methods.schedules.edm import EDM
from methods.solvers.deis import DEIS, lagrange_weights
from methods.solvers.heun import Heun
from methods.solvers.heun_churn import HeunChurn

LEVELS = EDM().levels(7, 0.05, 5.0)


def vp_time(sigma: float) -> float:
    return float(LinearBeta().time(torch.tensor(sigma, dtype=torch.float64)))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis_integrates_polynomials_in_time_exactly_after_its_warm_up(order: int) -> None:
    powers = np.array([0.3, -1.2, 0.8, 2.1][: order + 1])
    fine = np.linspace(0, 1, 200_001)

    def slope(sigma: float) -> float:
        return float(np.polyval(powers[::-1], vp_time(sigma)))

    def integral(begin: float, end: float) -> float:
        sigma = torch.from_numpy(begin + (end - begin) * fine)
        return float(np.trapezoid(np.polyval(powers[::-1], LinearBeta().time(sigma).numpy()), sigma.numpy()))

    solver, x = DEIS(order=order), torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    memory = solver.init_memory(None)
    for i in range(7):
        after = solver.step(x, i, LEVELS, lambda y, s: y - s * slope(s), memory, no_noise)
        exact = integral(float(LEVELS[i]), float(LEVELS[i + 1]))
        if i >= order:
            assert float(after - x) == pytest.approx(exact, rel=1e-8)
        elif i == 0:
            assert abs(float(after - x) - exact) > 1e-3
        x = after


def test_weights_of_one_level_are_eulers_and_all_sum_to_the_step() -> None:
    assert lagrange_weights((2.0,), 0.5, "vp") == pytest.approx((-1.5,))
    for time in ("vp", "sigma"):
        assert sum(lagrange_weights((1.0, 2.0, 4.0, 7.0), 0.5, time)) == pytest.approx(-0.5, rel=1e-12)
    steps = lagrange_weights((1.0, 2.0), 0.0, "sigma")
    assert steps == pytest.approx((-1.5, 0.5))  # Adams-Bashforth of equal steps


def test_levels_beyond_the_process_have_times_of_their_own() -> None:
    found = lagrange_weights((500.0, 1000.0), 100.0, "vp")
    assert all(math.isfinite(weight) for weight in found)


def test_without_churn_it_is_heun() -> None:
    plain = sample(Heun(), LEVELS, mixture, START)
    assert torch.equal(sample(HeunChurn(s_churn=0), LEVELS, mixture, START), plain)
    assert torch.equal(sample(HeunChurn(s_min=6.0, s_max=7.0), LEVELS, mixture, START), plain)


def test_a_step_is_that_of_the_algorithm() -> None:
    x, n, (s, s_next) = START, unit(9, 1, 1, 1, seed=3), LEVELS[2:4].tolist()
    solver = HeunChurn(s_churn=1.4, s_noise=1.01)
    gamma = 1.4 / 7
    up = s * (1 + gamma)
    noised = x + math.sqrt(up**2 - s**2) * 1.01 * n
    d = (noised - mixture(noised, up)) / up
    euler = noised + (s_next - up) * d
    expected = noised + (s_next - up) * (d + (euler - mixture(euler, s_next)) / s_next) / 2
    found = solver.step(x, 2, LEVELS, mixture, None, lambda step: n)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_churn_is_at_most_that_the_noise_doubles() -> None:
    levels_seen: list[float] = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        levels_seen.append(sigma)
        return torch.zeros_like(x)

    HeunChurn(s_churn=1e6).step(START, 2, LEVELS, denoise, None, lambda step: unit(9, 1, 1, 1))
    assert levels_seen[0] == pytest.approx(math.sqrt(2) * float(LEVELS[2]))


def test_churn_keeps_the_law_of_gaussian_data() -> None:
    """For N(0, 0.5^2) and unit S_noise the ends have the variance that the exact flow's have."""
    generator, levels = torch.Generator().manual_seed(0), EDM().levels(150, 0.02, 20.0)
    x = 20.0 * torch.randn(20_000, 1, 1, 1, generator=generator, dtype=torch.float64)
    found = sample(
        HeunChurn(s_churn=75, s_min=0, s_noise=1.0), levels, lambda y, s: y * 0.25 / (0.25 + s**2), x,
        lambda step: torch.randn(x.shape, generator=generator, dtype=torch.float64),
    )  # fmt: skip
    assert float(found.var()) == pytest.approx(0.25 + 0.02**2, rel=0.03)
