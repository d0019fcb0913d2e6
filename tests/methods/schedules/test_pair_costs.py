"""Pair costs: closed forms on Gaussian data, the bound, a programme that enumeration confirms, and refinement."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from kit.few_step_kit import HIGH, LOW, ONE, START, C, Diagonal, exact_end, relative_error
from kit.solver_kit import unit
from scipy.integrate import quad
from torch import Tensor

from methods.schedules.search.hand_made import hand_made
from methods.schedules.search.pair_costs import (
    cheapest,
    contracted,
    gap_costs,
    interpolated_cost,
    landing_errors,
    path_cost,
    refined,
    risk_costs,
    weighted_squares,
)
from methods.schedules.search.teacher import log_grid, walk

GRID = log_grid(256, LOW, HIGH)


def flow(sub_steps: int = 4) -> tuple[Tensor, Tensor]:
    """Return eps and D along the flow of one unit of noise."""
    states, eps = walk(ONE, START, GRID, sub_steps)
    return eps, states - eps * torch.as_tensor(GRID)[:, None, None]


EPS, CLEAN = flow()
A = gap_costs(EPS, EPS, GRID)[0].numpy()
BROWNIAN = np.sqrt(-np.diff(GRID**2, append=0.0))  # of the noise that is added between two levels, the lowest last


def forward_pairs(rows: int = 2000) -> tuple[Tensor, Tensor, Tensor]:
    """Return data [K, 1], and states and D [M + 1, K, 1] of a forward process x_a = x_q + sqrt(a^2 - q^2) z."""
    clean = C * unit(rows, 1, seed=1)
    steps = torch.as_tensor(BROWNIAN)[:, None, None] * unit(len(GRID), rows, 1, seed=2)
    states = clean + steps.flip(0).cumsum(0).flip(0)
    variance = torch.as_tensor(GRID)[:, None, None] ** 2
    return clean, states, states * C**2 / (C**2 + variance)


# Costs against closed forms, and what is easily got wrong (spec 2.3, 2.4, 7.3 items 3, 8, 13).


def slope_at(sigma: float) -> float:
    """Return eps along the flow from 1 unit of noise at HIGH."""
    return HIGH / (C**2 + HIGH**2) ** 0.5 * sigma / (C**2 + sigma**2) ** 0.5


@pytest.mark.parametrize(("a", "b"), [(0, 256), (40, 130), (100, 120), (7, 7)])
def test_a_gap_is_the_integral_of_what_the_output_changes_since_the_left_end(a: int, b: int) -> None:
    exact = quad(lambda s: abs(slope_at(GRID[a]) - slope_at(s)), GRID[b], GRID[a], points=[GRID[a]], limit=200)[0]
    assert A[a, b] == pytest.approx(exact, rel=2e-3, abs=1e-12)
    if b > a + 10:
        right = quad(lambda s: abs(slope_at(GRID[b]) - slope_at(s)), GRID[b], GRID[a], limit=200)[0]
        assert A[a, b] != pytest.approx(right, rel=0.1)  # the right end is another number


def test_norms_are_taken_before_anything_is_averaged_over_trajectories() -> None:
    mirrored = torch.cat([EPS, -EPS], 1)
    torch.testing.assert_close(gap_costs(mirrored, mirrored, GRID).mean(0).numpy(), A)
    assert A[0, -1] > 0.1  # the mean of the two is 0 everywhere


def test_costs_do_not_grow_with_the_number_of_equal_pixels() -> None:
    wide = EPS.expand(-1, -1, 9).contiguous()
    torch.testing.assert_close(gap_costs(wide, wide, GRID)[0].numpy(), A, rtol=1e-10, atol=1e-12)
    squares = weighted_squares(EPS, GRID, -2)
    torch.testing.assert_close(weighted_squares(wide, GRID, -2), squares, rtol=1e-10, atol=1e-14)


def test_costs_add_up_from_the_left_and_are_nothing_below_the_diagonal() -> None:
    for costs in (A, weighted_squares(CLEAN, GRID, -2)[0].numpy()):
        assert (np.diff(costs, axis=1) >= 0).all()
        assert (np.tril(costs) == 0).all()


def test_the_left_network_may_be_another_one_than_that_inside() -> None:
    off = EPS + 0.1
    costs = gap_costs(off, EPS, GRID)[0]
    assert float(costs[30, 31]) == pytest.approx(A[30, 31] + 0.1 * (GRID[30] - GRID[31]), rel=0.1)
    back = gap_costs(EPS, off, GRID)[0]
    assert not torch.allclose(costs, back)
    # By hand on three levels: g = 4, 2, 1; left 1, 2, 3 and inside 0, 5, 1.
    three = gap_costs(*(torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in ([1, 2, 3], [0, 5, 1])), [4, 2, 1])
    assert three[0].tolist() == [[0, 2 * (1 + 4) / 2, 5 + (4 + 0) / 2], [0, 0, (3 + 1) / 2], [0, 0, 0]]


def test_the_bound_holds_on_gaussian_data_for_every_schedule() -> None:
    exact = abs(float(exact_end(START))) / HIGH  # per unit of x_0
    found = {}
    for steps in (4, 8, 16):
        for name, levels in hand_made(steps, LOW, HIGH).items():
            grid = log_grid(256, LOW, HIGH, levels.tolist())
            eps = walk(ONE, START, grid, 1)[1]
            bound = path_cost(gap_costs(eps, eps, grid)[0].numpy(), np.searchsorted(-grid, -levels)) / HIGH
            error = relative_error(levels) * exact
            assert error <= bound
            found[name, steps] = error, bound
    assert found["edm", 8] == pytest.approx((1.881e-3, 2.829e-3), rel=1e-3)
    assert found["arctan", 8] == pytest.approx((8.877e-4, 1.790e-3), rel=1e-3)


def test_two_halves_of_the_trajectories_agree_within_their_standard_errors() -> None:
    network = Diagonal([1 / (1 + k) for k in range(16)], 4)
    grid = log_grid(64, LOW, HIGH)
    eps = walk(network, HIGH * unit(64, 1, 4, 4), grid, 1)[1]
    costs = gap_costs(eps, eps, grid)
    path = cheapest(costs.mean(0).numpy(), 6)[-1]
    each = costs[:, path[:-1], path[1:]].sum(1)
    first, second = each[:32], each[32:]
    gap = abs(float(first.mean() - second.mean()))
    assert 0 < gap < 3 * float((first.var() / 32 + second.var() / 32).sqrt())


def test_the_contraction_is_by_how_much_the_flow_of_gaussian_data_shrinks_distances() -> None:
    states, _ = walk(ONE, torch.cat([START, 2 * START]), GRID, 4)
    apart = (states[:, 1] - states[:, 0]).abs().flatten()
    shrunk = contracted(torch.ones(1, len(GRID), len(GRID), dtype=torch.float64), GRID, C)[0, 0]
    torch.testing.assert_close(shrunk, apart[-1] / apart, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("a", "b"), [(0, 256), (40, 130), (100, 101)])
def test_a_landing_error_is_where_eulers_step_lands_beside_the_flow(a: int, b: int) -> None:
    states, eps = walk(ONE, START, GRID, 4)
    landed = states[a] + (GRID[b] - GRID[a]) * eps[a]
    found = landing_errors(states, eps, GRID)
    assert found[0, a, b] == pytest.approx(float((landed - states[b]).abs()), rel=1e-12)
    assert (found.tril() == 0).all()
    assert found[0, a, b] <= A[a, b] * (1 + 1e-3)  # the bound's triangle inequality


def test_a_network_that_takes_whole_steps_exactly_costs_nothing_on_them() -> None:
    states, _ = walk(ONE, START, GRID, 4)
    slopes = torch.zeros_like(states)
    slopes[10] = (states[90] - states[10]) / (GRID[90] - GRID[10])
    found = landing_errors(states, slopes, GRID)[0, 10]
    assert float(found[90]) < 1e-12
    assert float(found[60]) > 1e-3


def test_jensens_square_is_above_the_bounds_square() -> None:
    squares = weighted_squares(EPS, GRID, 0.0)[0].numpy()
    for path in cheapest(A, 8):
        assert path_cost(A, path) ** 2 <= (HIGH - LOW) * path_cost(squares, path) * (1 + 1e-12)


# Objective B (spec 2.3).


def test_the_risk_of_a_path_is_the_weighted_sum_of_its_errors() -> None:
    errors = unit(3, 257).square()
    path = cheapest(A, 5)[-1]
    weights = LOW * np.diff(1 / GRID[path])
    by_hand = errors.numpy()[:, path[:-1]] @ weights
    np.testing.assert_allclose(risk_costs(errors, GRID)[:, path[:-1], path[1:]].sum(1).numpy(), by_hand, rtol=1e-12)


def test_squares_of_forward_pairs_are_the_risk_but_for_what_no_schedule_changes() -> None:
    clean, _, outputs = forward_pairs()
    squares = LOW * weighted_squares(outputs.transpose(1, 2), GRID, -2.0)[0].numpy()  # a pixel for a sample
    risk = risk_costs((outputs - clean).square().mean((1, 2)), GRID).numpy()
    paths = cheapest(risk, 12)[3:]
    constants = [path_cost(risk, path) - path_cost(squares, path) for path in paths]
    assert np.ptp(constants) < 0.05 * (path_cost(risk, paths[0]) - path_cost(risk, paths[-1]))


def test_under_the_weights_of_the_noise_form_the_risk_asks_for_one_giant_step() -> None:
    sigma = torch.as_tensor(GRID)
    loss = C**2 / (C**2 + sigma**2)  # of predicting the noise: next to nothing at the top
    noise_form = (torch.as_tensor(GRID)[:, None] - torch.as_tensor(GRID)).triu() * loss[:, None]
    for path in cheapest(noise_form.numpy(), 6)[1:]:
        assert path[1] > 200  # from 80 to below 0.02 at once


# The programme (spec 2.5, 7.3 items 4, 7).


@pytest.mark.parametrize("discount", [1.0, 1.15, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_the_programme_finds_what_enumeration_finds(discount: float, seed: int) -> None:
    costs = np.random.default_rng(seed).normal(size=(13, 13))  # of both signs
    costs[np.tril_indices(13)] = np.nan  # never read
    for steps, path in enumerate(cheapest(costs, 12, discount), 1):
        every = [(0, *inner, 12) for inner in itertools.combinations(range(1, 12), steps - 1)]
        totals = [sum(discount**i * costs[p[i], p[i + 1]] for i in range(steps)) for p in every]
        assert tuple(path) == every[int(np.argmin(totals))]


def test_no_schedule_on_the_grid_is_cheaper_than_the_programmes() -> None:
    every = {(n, name): levels for n in (4, 6, 10) for name, levels in hand_made(n, LOW, HIGH).items()}
    grid = log_grid(64, LOW, HIGH, itertools.chain(*(levels.tolist() for levels in every.values())))
    eps = walk(ONE, START, grid, 1)[1]
    costs = gap_costs(eps, eps, grid)[0].numpy()
    paths = cheapest(costs, 10)
    for (steps, name), levels in every.items():
        assert np.isin(levels, grid).all(), name
        assert path_cost(costs, paths[steps - 1]) <= path_cost(costs, np.searchsorted(-grid, -levels))


def test_more_steps_cost_less_and_as_many_as_cells_are_the_grid() -> None:
    paths = cheapest(A, 256)
    totals = [path_cost(A, path) for path in paths]
    assert (np.diff(totals) < 0).all()
    assert paths[0].tolist() == [0, 256]
    assert paths[-1].tolist() == list(range(257))
    assert totals[-1] == pytest.approx(np.diagonal(A, 1).sum(), rel=1e-12)
    for path in paths:
        assert (np.diff(path) > 0).all()


def test_of_equal_paths_the_first_is_taken() -> None:
    assert [path.tolist() for path in cheapest(np.zeros((5, 5)), 3)] == [[0, 4], [0, 1, 4], [0, 1, 2, 4]]


def test_more_steps_than_cells_are_refused() -> None:
    for most in (5, 0):
        with pytest.raises(ValueError, match=f"paths of 1 to 4 steps exist on 5 levels, but {most} steps"):
            cheapest(np.zeros((5, 5)), most)


# Refinement (spec 2.5, 7.3 item 6).


def test_off_the_grid_costs_are_interpolated_and_on_it_they_are_the_paths() -> None:
    both = torch.as_tensor(np.stack([A, 2 * A]))
    path = cheapest(A, 6)[-1]
    on = interpolated_cost(both, GRID, GRID[path])
    torch.testing.assert_close(on, path_cost(A, path) * torch.tensor([1.0, 2.0]).double(), rtol=1e-10, atol=0)
    levels = GRID[path] * np.array([1, 1.013, 0.99, 1.007, 1.02, 0.985, 1])
    finer = log_grid(256, LOW, HIGH, levels.tolist())
    eps = walk(ONE, START, finer, 4)[1]
    true = path_cost(gap_costs(eps, eps, finer)[0].numpy(), np.searchsorted(-finer, -levels))
    assert float(interpolated_cost(both, GRID, levels)[0]) == pytest.approx(true, rel=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_refined_levels_cost_less_and_keep_their_order_and_their_ends(steps: int) -> None:
    on_grid = GRID[cheapest(A, steps)[-1]]
    best = refined(A, GRID, on_grid)
    for start, levels in ((on_grid, best), (edm := hand_made(steps, LOW, HIGH)["edm"], refined(A, GRID, edm))):
        assert (levels[0], levels[-1], len(levels)) == (HIGH, LOW, steps + 1)
        assert (np.diff(levels) < 0).all()
        costs = torch.as_tensor(A)
        before, after = (float(interpolated_cost(costs, GRID, s)) for s in (start, levels))
        assert after < before or (steps == 1 and after == before)
        assert after == pytest.approx(float(interpolated_cost(costs, GRID, best)), rel=2e-3)
    assert np.array_equal(best, refined(A, GRID, on_grid))
