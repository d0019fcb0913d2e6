"""The teacher: grids with levels merged in, the probability flow walked finely, and a solver's end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from kit.solver_kit import no_noise, unit
from kit.toy_context import ToyContext
from torch import Tensor

from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, Network, NetworkParams
from methods.networks.unet import UNet, UNetParams
from methods.schedules.edm import EDM
from methods.schedules.search.teacher import denoised, end, log_grid, starts, walk
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.dpmpp_2m import DPMPP2M


def gaussian(std: float = 0.5, resolution: int = 2) -> Analytic:
    dim = resolution**2
    facts = {"means": [[0.3] * dim], "stds": [std], "weights": [1.0]}
    return Analytic(NetworkParams(), DataShape(1, resolution, facts))


def test_a_grid_is_uniform_in_log_sigma_between_exact_ends() -> None:
    grid = log_grid(10, 0.002, 80.0)
    assert grid.dtype == np.float64
    assert (grid[0], grid[-1], len(grid)) == (80.0, 0.002, 11)
    np.testing.assert_allclose(np.diff(np.log(grid)), np.log(0.002 / 80.0) / 10, rtol=1e-12)


def test_levels_are_merged_in_to_the_bit_and_repeated_ones_once() -> None:
    plain = log_grid(12, 0.01, 40.0)
    close = float(plain[5]) * (1 + 1e-12)  # replaces the grid's own
    grid = log_grid(12, 0.01, 40.0, [*EDM().levels(5, 0.01, 40.0).tolist(), close, close, 3.0])
    assert set(EDM().levels(5, 0.01, 40.0)) | {close, 3.0} <= set(grid)
    assert float(plain[5]) not in set(grid)
    assert len(grid) == 13 + 4 + 1
    assert (np.diff(np.log(grid)) < -1e-10).all()
    assert (grid[0], grid[-1]) == (40.0, 0.01)


def test_a_level_next_to_an_end_does_not_move_the_end() -> None:
    grid = log_grid(4, 0.002, 80.0, [float(np.nextafter(80.0, 0.0)), float(np.nextafter(0.002, 1.0))])
    assert len(grid) == 5
    assert (grid[0], grid[-1]) == (80.0, 0.002)


def test_a_level_outside_of_the_range_is_refused() -> None:
    for outside in (81.0, 0.001):
        with pytest.raises(ValueError, match=f"level {outside} lies outside of the range from 80.0 to 0.002"):
            log_grid(4, 0.002, 80.0, [outside])


class Recorder(Network):
    """Answers 0 in the type it is asked in, and remembers what it was asked."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(NetworkParams(), DataShape(1, 2))
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int64))  # not a weight
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=dtype))
        self.asked: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.asked.append((x, sigma))
        return torch.zeros_like(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_network_is_called_in_its_own_type_with_a_level_per_row(dtype: torch.dtype) -> None:
    network, x = Recorder(dtype), unit(3, 1, 2, 2)
    assert denoised(network, x, 0.3).dtype == torch.float64
    assert denoised(network, x.float(), 0.3).dtype == torch.float32
    for seen, sigma in network.asked:
        assert seen.dtype == dtype
        assert sigma.dtype == torch.float64
        assert sigma.tolist() == [0.3] * 3


def test_a_walk_follows_the_exact_flow_and_eps_is_its_slope() -> None:
    network, grid = gaussian(), log_grid(64, 0.01, 40.0)
    x = 40.0 * unit(3, 1, 2, 2)
    states, eps = walk(network, x, grid, 4)
    assert states.shape == eps.shape == (65, 3, 4)
    assert states.dtype == eps.dtype == torch.float64
    assert torch.equal(states[0], x.flatten(1))
    for m in (1, 30, 64):
        exact = network.flow(x, 40.0, float(grid[m]))
        assert exact is not None
        torch.testing.assert_close(states[m], exact.flatten(1), rtol=2e-4, atol=2e-4)
        state = states[m].view_as(x)
        slope = (state - network(state, torch.full((3,), grid[m], dtype=torch.float64))) / grid[m]
        torch.testing.assert_close(eps[m], slope.flatten(1), rtol=1e-12, atol=1e-12)


def test_the_error_of_a_walk_falls_fourfold_when_its_steps_are_halved() -> None:
    network, grid, x = gaussian(), log_grid(32, 0.01, 40.0), 40.0 * unit(3, 1, 2, 2)
    exact = network.flow(x, 40.0, 0.01)
    assert exact is not None
    errors = [float((walk(network, x, grid, n)[0][-1] - exact.flatten(1)).norm()) for n in (2, 4, 8)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


def test_a_single_precision_network_is_walked_in_double_precision_states() -> None:
    torch.manual_seed(0)
    network = UNet(UNetParams(channels=(8, 8), norm_groups=4, middle=False), DataShape(1, 4)).eval()
    x = 10.0 * unit(2, 1, 4, 4)
    states, eps = walk(network, x, log_grid(8, 0.01, 10.0), 1)
    assert states.dtype == eps.dtype == torch.float64
    assert not states.requires_grad
    assert not torch.equal(states[-1], states[-1].float().double())


def test_a_walk_passes_over_its_cells_as_it_is_told() -> None:
    seen: list[int] = []

    def passes(n: int) -> Iterator[int]:
        for cell in range(n):
            seen.append(cell)
            yield cell

    network, x, grid = gaussian(), unit(1, 1, 2, 2), log_grid(5, 0.1, 1.0)
    told = walk(network, x, grid, 1, passes)
    assert seen == [0, 1, 2, 3, 4]
    assert torch.equal(told[0], walk(network, x, grid, 1)[0])


def test_starts_are_the_preparations_noises_by_their_number() -> None:
    context = ToyContext(gaussian())
    x = starts(context, 5, 3)
    assert x.dtype == torch.float64
    for row, index in enumerate((5, 6, 7)):
        assert torch.equal(x[row], context.noise(index).double() * context.sigma_max)
    assert torch.equal(starts(context, 7, 1)[0], x[2])


def test_an_end_is_that_of_the_solver_with_its_memory_and_lets_gradients_through() -> None:
    network, levels = gaussian(), EDM().levels(6, 0.02, 10.0)
    x = (10.0 * unit(2, 1, 2, 2)).requires_grad_()
    solver, memory, state = DPMPP2M(), DPMPP2M().init_memory(None), x
    for i in range(6):
        state = solver.step(
            state, i, levels, lambda at, s: network(at, torch.tensor([s, s], dtype=torch.float64)), memory, no_noise
        )
    reached = end(network, DPMPP2M(), x, levels)
    torch.testing.assert_close(reached, state, rtol=1e-12, atol=1e-12)
    reached.sum().backward()
    assert x.grad is not None
    assert not torch.allclose(reached, end(network, DDIM(), x, levels))


def test_a_solver_that_draws_noise_is_refused() -> None:
    with pytest.raises(ValueError, match='solver "ddpm" draws noise'):
        end(gaussian(), DDPM(), unit(1, 1, 2, 2), EDM().levels(3, 0.02, 10.0))
