"""Few-step schedules on data where Euler's error has a closed form, or was computed once: the reference tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kit.few_step_kit import HIGH, LOW, ONE, START, C, Diagonal, mixture, relative_error
from kit.solver_kit import no_noise, unit
from torch import Tensor

from methods.schedules.few_step import euler_end_error
from methods.schedules.search.hand_made import hand_made
from methods.schedules.search.pair_costs import cheapest, gap_costs, refined, risk_costs, weighted_squares
from methods.schedules.search.teacher import end, log_grid, walk
from methods.solvers.ddim import DDIM
from methods.solvers.dpmpp_2m import DPMPP2M

GRID = log_grid(256, LOW, HIGH)
STATES, EPS = walk(ONE, START, GRID, 4)
CLEAN = STATES - EPS * torch.as_tensor(GRID)[:, None, None]
A = gap_costs(EPS, EPS, GRID)[0].numpy()


# The first-order solver as a convex combination (spec 2.2, 7.3 items 1, 2, 9).


def random_network(x: Tensor, sigma: float) -> Tensor:
    return torch.tanh(x @ unit(6, 6, seed=3) + sigma) + 0.3 * x


def test_eulers_answer_is_a_convex_combination_of_outputs_in_both_forms() -> None:
    levels = np.sort(np.concatenate([[LOW, HIGH], np.exp(np.random.default_rng(0).uniform(-6, 4, 5))]))[::-1]
    x0 = HIGH * unit(4, 6)
    x, outputs, slopes = x0, [], []
    for i in range(6):
        outputs.append(random_network(x, levels[i]))
        slopes.append((x - outputs[-1]) / levels[i])
        x = DDIM().step(x, i, levels, lambda _, s: outputs[-1], None, no_noise)
    w = LOW * (1 / levels[1:] - 1 / levels[:-1])
    v = (levels[:-1] - levels[1:]) / (HIGH - LOW)
    assert (w >= 0).all()
    assert (v >= 0).all()
    assert LOW / HIGH + w.sum() == pytest.approx(1, rel=1e-13)
    assert v.sum() == pytest.approx(1, rel=1e-13)
    data_form = LOW / HIGH * x0 + sum(a * out for a, out in zip(w, outputs, strict=True))
    noise_form = x0 - (HIGH - LOW) * sum(a * eps for a, eps in zip(v, slopes, strict=True))
    torch.testing.assert_close(data_form, x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(noise_form, x, rtol=1e-12, atol=1e-12 * HIGH)


@pytest.mark.parametrize("name", [*hand_made(4, LOW, HIGH)])
def test_on_gaussian_data_euler_multiplies_the_answer_by_the_cosines_of_its_angles(name: str) -> None:
    for steps in (4, 7, 16):
        levels = hand_made(steps, LOW, HIGH)[name]
        cosines = np.cos(np.diff(np.arctan(levels / C))).prod()
        assert 1 - relative_error(levels) == pytest.approx(cosines, rel=1e-12)


@pytest.mark.parametrize("steps", [32, 128])
def test_errors_fall_with_the_order_of_the_solver(steps: int) -> None:
    def error(solver, n: int) -> float:
        levels = hand_made(n, 0.02, 10.0)["logsnr"]
        start = torch.full((1, 1, 1, 1), 10.0, dtype=torch.float64)
        exact = start * ((C**2 + 0.02**2) / (C**2 + 10.0**2)) ** 0.5
        return abs(float(end(ONE, solver, start, levels) / exact) - 1)

    for solver, order in ((DDIM(), 1), (DPMPP2M(lower_order_final=False), 2)):
        slope = np.log2(error(solver, 4 * steps) / error(solver, steps)) / 2
        assert slope == pytest.approx(-order, abs=0.15)


# The reference tables (spec 7.2).

STEPS = (4, 6, 8, 10, 16)
TABLE = {  # relative errors at c = 0.5
    "uniform-sigma": (0.9710, 0.9585, 0.9461, 0.9337, 0.8967),
    "uniform-t": (0.5282, 0.3767, 0.2915, 0.2379, 0.1539),
    "quadratic-t": (0.3295, 0.2344, 0.1815, 0.1481, 0.0953),
    "cosine": (0.3288, 0.2279, 0.1748, 0.1419, 0.0908),
    "logsnr": (0.4395, 0.3502, 0.2811, 0.2327, 0.1526),
    "edm": (0.5327, 0.3633, 0.3010, 0.2472, 0.1627),
    "arctan": (0.2684, 0.1856, 0.1420, 0.1151, 0.0734),  # the true optimum
}
COMPUTED = {
    "A": (A, (0.2685, 0.1878, 0.1464, 0.1207, 0.0801), (0.2686, 0.1877, 0.1463, 0.1203, 0.0809)),
    "U_3": (weighted_squares(CLEAN, GRID, -2.0)[0].numpy(), (0.3109, 0.2037, 0.1519, 0.1212, 0.0756), None),
    "B": (
        risk_costs(C**2 / (C**2 / torch.as_tensor(GRID) ** 2 + 1), GRID).numpy(),
        (0.5398, 0.3734, 0.2833, 0.2277, 0.1427),
        None,
    ),
}


@pytest.mark.parametrize("name", [*TABLE])
def test_hand_made_schedules_err_as_in_the_reference_table(name: str) -> None:
    errors = [relative_error(hand_made(n, LOW, HIGH)[name]) for n in STEPS]
    np.testing.assert_allclose(errors, TABLE[name], atol=6e-5)


@pytest.mark.parametrize("name", [*COMPUTED])
def test_optimised_schedules_err_as_in_the_reference_table(name: str) -> None:
    costs, continuous, on_grid = COMPUTED[name]
    paths = cheapest(costs, 16)
    errors = [relative_error(GRID[paths[n - 1]]) for n in STEPS]
    if on_grid:
        np.testing.assert_allclose(errors, on_grid, atol=6e-5)
        assert errors[0] <= TABLE["arctan"][0] * 1.005 + 5e-4
        assert errors[-1] <= TABLE["arctan"][-1] * 1.11
    errors = [relative_error(refined(costs, GRID, GRID[paths[n - 1]], steps=200)) for n in STEPS]
    np.testing.assert_allclose(errors, continuous, atol=3e-4)


def test_squares_at_power_minus_three_err_as_in_the_reference_table() -> None:
    sigma = torch.as_tensor(GRID)
    mmse = C**2 / (C**2 / sigma**2 + 1)
    # E|D_a - D_q|^2 = mmse_a - mmse_q for forward pairs: the outputs of as many independent steps.
    steps = torch.diff(mmse).neg().clamp(min=0).sqrt()
    outputs = torch.zeros(257, 1, 256, dtype=torch.float64)
    for m in range(257):
        outputs[m, 0, :m] = steps[:m]
    costs = weighted_squares(outputs * 16, GRID, -3.0)[0].numpy()  # 16 = sqrt(dim)
    paths = cheapest(costs, 16)
    errors = [relative_error(GRID[paths[n - 1]]) for n in STEPS]
    np.testing.assert_allclose(errors, (0.7475, 0.6106, 0.5169, 0.4498, 0.3285), atol=0.02)


def test_on_power_law_gaussian_data_schedules_err_as_in_the_reference_table() -> None:
    network = Diagonal([1 / (1 + k) for k in range(64)], 8)
    variances = network.variances
    assert isinstance(variances, Tensor)
    ones = torch.full((1, 1, 8, 8), HIGH, dtype=torch.float64)
    exact = ones * ((variances + LOW**2) / (variances + HIGH**2)).sqrt()

    def error(levels: np.ndarray) -> float:
        return float(((end(network, DDIM(), ones, levels) - exact).norm()) / exact.norm())

    grid = log_grid(128, LOW, HIGH)
    eps = walk(network, HIGH * unit(64, 1, 8, 8), grid, 1)[1]
    costs = gap_costs(eps, eps, grid).mean(0).numpy()
    paths = cheapest(costs, 10)
    rows = {4: (0.5209, 0.4931, 0.3387), 6: (0.3738, 0.3616, 0.2384), 8: (0.2950, 0.2821, 0.1850)}
    for steps, (edm, logsnr, a) in (rows | {10: (0.2445, 0.2326, 0.1519)}).items():
        made = hand_made(steps, LOW, HIGH)
        assert error(made["edm"]) == pytest.approx(edm, abs=1.5e-4)
        assert error(made["logsnr"]) == pytest.approx(logsnr, abs=1.5e-4)
        assert error(refined(costs, grid, grid[paths[steps - 1]], steps=200)) == pytest.approx(a, abs=2e-3)


def test_on_a_mixture_the_programme_beats_every_hand_made_schedule_on_noises_it_has_not_seen() -> None:
    network, grid = mixture(seed=0), log_grid(96, 0.01, 40.0)  # not on every mixture: see the guard's test
    eps = walk(network, 40 * unit(64, 1, 4, 4, seed=6), grid, 1)[1]
    paths = cheapest(gap_costs(eps, eps, grid).mean(0).numpy(), 10)
    fresh = 40 * unit(128, 1, 4, 4, seed=7)
    ends = walk(network, fresh, grid, 1)[0][-1].view_as(fresh)
    for steps in (6, 10):
        errors = {name: euler_end_error(network, fresh, s, ends) for name, s in hand_made(steps, 0.01, 40.0).items()}
        assert euler_end_error(network, fresh, grid[paths[steps - 1]], ends) < 0.95 * min(errors.values())
