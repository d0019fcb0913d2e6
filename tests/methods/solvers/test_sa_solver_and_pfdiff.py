"""SA-Solver: weights by hand, and the law that any noise keeps. PFDiff: its step, and whose levels it asks at."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from kit.solver_kit import START, TO_ZERO, mixture, no_noise, sample, unit
from torch import Tensor

from methods.schedules.edm import EDM
from methods.schedules.logsnr import LogSNR
from methods.solvers.ddim import DDIM
from methods.solvers.pfdiff import PFDiff
from methods.solvers.sa_solver import SASolver, adams_weights

LEVELS = EDM().levels(7, 0.05, 5.0)


@pytest.mark.parametrize("tau", [0.0, 0.6, 1.0])
def test_adams_weights_integrate_polynomials_exactly(tau: float) -> None:
    a, (begin, end) = 1 + tau**2, (0.4, 1.3)
    v = np.linspace(0, end - begin, 200_001)
    for levels in ((begin,), (begin, 0.1, -0.5), (end, begin, 0.1), (begin, 0.1, -0.5, -0.8), (end, begin, 0.1, -0.5)):
        weights = adams_weights(levels, begin, end, tau)
        for power in range(len(levels)):
            exact = a * np.trapezoid(np.exp(-a * v) * (end - v) ** power, v)
            assert sum(w * at**power for w, at in zip(weights, levels, strict=True)) == pytest.approx(exact, rel=1e-7)


def test_two_levels_have_the_authors_slope() -> None:
    h, a = 0.9, 2.0
    assert adams_weights((0.4, 0.1), 0.4, 1.3, 1.0)[1] == pytest.approx(-a * h**2 / 2 / 0.3)
    assert adams_weights((1.3, 0.4), 0.4, 1.3, 1.0)[0] == pytest.approx(a * h / 2)
    for levels in ((0.4, 0.1), (1.3, 0.4)):
        assert sum(adams_weights(levels, 0.4, 1.3, 1.0)) == pytest.approx(1 - math.exp(-a * h))


def test_levels_of_one_without_noise_are_ddim() -> None:
    one = SASolver(predictor_order=1, corrector_order=2, tau=0, lower_order_final=False)
    x, memory = START, one.init_memory(None)
    first = one.step(x, 0, LEVELS, mixture, memory, no_noise)
    torch.testing.assert_close(first, sample(DDIM(), LEVELS[:2], mixture, START), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("tau", [0.4, 1.0, 1.4])
def test_any_noise_keeps_the_law_of_gaussian_data(tau: float) -> None:
    generator, levels = torch.Generator().manual_seed(0), LogSNR().levels(120, 0.02, 20.0)
    x = math.sqrt(0.25 + 20.0**2) * torch.randn(20_000, 1, 1, 1, generator=generator, dtype=torch.float64)
    found = sample(
        SASolver(tau=tau, s_min=0, s_max=100), levels, lambda y, s: y * 0.25 / (0.25 + s**2), x,
        lambda step: torch.randn(x.shape, generator=generator, dtype=torch.float64),
    )  # fmt: skip
    assert float(found.var()) == pytest.approx(0.25 + 0.02**2, rel=0.03)
    mutant = sample(
        SASolver(tau=tau, s_min=0, s_max=100), levels, lambda y, s: y * 0.25 / (0.25 + s**2), x,
        lambda step: 1.2 * torch.randn(x.shape, generator=generator, dtype=torch.float64),
    )  # fmt: skip
    assert float(mutant.var()) > 1.1 * 0.25


def test_noise_is_drawn_between_its_levels_alone_and_used_again_by_the_corrector() -> None:
    asked: list[int] = []

    def noise(step: int) -> Tensor:
        asked.append(step)
        return unit(9, 1, 1, 1, seed=step)

    sample(SASolver(s_min=0.3, s_max=2.0), LEVELS, mixture, START, noise)
    assert asked == [i for i, s in enumerate(LEVELS[:-1]) if 0.3 <= s <= 2.0]
    assert 0 < len(asked) < 7


def test_a_step_of_pfdiff_is_that_of_the_paper() -> None:
    solver, x, memory = PFDiff(k=3, h=2), START, []
    first = solver.step(x, 0, LEVELS, mixture, memory, no_noise)
    d = (x - mixture(x, LEVELS[0])) / LEVELS[0]
    torch.testing.assert_close(first, x + (LEVELS[1] - LEVELS[0]) * d, rtol=1e-13, atol=1e-13)

    s, s_next = LEVELS[1:3].tolist()
    middle = math.sqrt(s * s_next)
    board = first + (middle - s) * d
    ahead = (board - mixture(board, middle)) / middle
    second = solver.step(first, 1, LEVELS, mixture, memory, no_noise)
    torch.testing.assert_close(second, first + (s_next - s) * ahead, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(memory, [ahead], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("k", "h"), [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)])
def test_pfdiff_asks_once_a_step_at_its_springboards(k: int, h: int) -> None:
    asked: list[float] = []

    def denoise(x: Tensor, s: float) -> Tensor:
        asked.append(s)
        return mixture(x, s)

    grid = TO_ZERO[3]
    sample(PFDiff(k=k, h=h), grid, denoise, START)
    between = [s * (after / s) ** (h / (k + 1)) for s, after in pairwise(grid[1:-1])]
    assert asked == pytest.approx([grid[0], *between, grid[-2]])  # none lies between the last level and 0


def test_pfdiff_halves_the_error_of_ddim_from_ten_steps_on() -> None:
    levels = EDM().levels(10, 0.05, 5.0)
    exact = sample(DDIM(), LogSNR().levels(20_000, 0.05, 5.0), mixture, START)
    errors = [float((sample(one, levels, mixture, START) - exact).norm()) for one in (DDIM(), PFDiff())]
    assert errors[1] < errors[0] / 2
