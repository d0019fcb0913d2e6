"""ParaDiGMS against its algorithm written plainly for one sample, against the serial loop, and its accounts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from diffusers import DDPMParallelScheduler
from kit.solver_kit import label, unit
from kit.srds_kit import HIGH, LOW, Boundary, grid, mixture_of, run, serial, start
from torch import Tensor

from methods.executors.paradigms import ParaDiGMS, posterior_variances
from methods.networks.base import NetworkParams
from methods.parts import Solver, Trace
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.heun import Heun

BATCH = 3
NETWORK = mixture_of()


def noise(step: int) -> Tensor:
    return unit(BATCH, 1, 4, 4, seed=100 + step)


class Plain(NamedTuple):
    final: Tensor
    windows: list[tuple[int, int]]


def preserving(sigmas: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Return the products of the alphas at the levels, and the variances by the state that a step leaves, as coded."""
    products = 1 / (1 + sigmas**2)
    variances = [(1 - later) / (1 - now) * (1 - now / later) for now, later in pairwise(products)]
    return products, variances


def plainly(solver: Solver, sigmas: np.ndarray, x: Tensor, row: int, window: int, tolerance: float) -> Plain:
    """Return the authors' loop for one sample: a buffer of all states, one window after the other.

    All states are variance preserving, and DDIM's step is that of its paper (Song et al. 2021, eq. 12).
    """
    products, variances = preserving(sigmas)
    n, buffer, windows = len(sigmas) - 1, [products[0] ** 0.5 * x[row : row + 1]] * len(sigmas), []

    def denoise(y: Tensor, s: float) -> Tensor:
        return NETWORK(y, torch.full((1,), s, dtype=torch.float64))

    def stepped(t: int) -> Tensor:
        now, later = products[t], products[t + 1]
        y = buffer[t] / now**0.5
        if isinstance(solver, DDIM):
            clean = denoise(y, sigmas[t])
            return later**0.5 * clean + (1 - later) ** 0.5 * (buffer[t] - now**0.5 * clean) / (1 - now) ** 0.5
        return later**0.5 * solver.step(y, t, sigmas, denoise, None, lambda i: noise(i)[row : row + 1])

    begin = 0
    while begin < n:
        end = min(begin + window, n)
        windows.append((begin, end))
        deltas = [stepped(t) - buffer[t] for t in range(begin, end)]
        first_wrong = end - begin
        for u in range(end - begin):
            new = buffer[begin] + torch.stack(deltas[: u + 1]).sum(0)
            t = begin + u + 1
            if t < n and first_wrong == end - begin:
                error = float(torch.linalg.norm(new - buffer[t])) ** 2
                if error / variances[t] / new.numel() > tolerance**2:
                    first_wrong = u
            buffer[t] = new
        following = begin + min(1 + first_wrong, window)
        for t in range(end + 1, min(following + window, n) + 1):
            buffer[t] = buffer[end]
        begin = following
    return Plain(buffer[-1] / products[-1] ** 0.5, windows)


@pytest.mark.parametrize("solver", [DDIM(), Heun(), DDPM()], ids=label)
@pytest.mark.parametrize(("steps", "window", "tolerance"), [(25, 8, 0.1), (25, 32, 0.01), (40, 16, 0.5), (1, 4, 0.1)])
def test_every_sample_is_the_plain_algorithm_alone(solver: Solver, steps: int, window: int, tolerance: float) -> None:
    x = start(BATCH)
    executor = ParaDiGMS(window=window, tolerance=tolerance)
    made = run(NETWORK, grid(steps), x, solver, noise=noise, executor=executor)
    each = [plainly(solver, grid(steps), x, row, window, tolerance) for row in range(BATCH)]
    torch.testing.assert_close(made.final, torch.cat([one.final for one in each]), rtol=0, atol=1e-10)
    assert made.iterations == [len(one.windows) for one in each]
    sizes = [end - begin for one in each for begin, end in one.windows]
    assert made.boundary.evaluations == solver.evaluations_per_step * sum(sizes)
    fronts = np.zeros((BATCH, steps))
    for row, one in enumerate(each):
        for begin, _ in one.windows:
            fronts[row, begin] += solver.evaluations_per_step
    np.testing.assert_array_equal(made.trace.critical, fronts)
    assert made.depth == [solver.evaluations_per_step * k for k in made.iterations]
    assert len(made.boundary.calls) == solver.evaluations_per_step * max(made.iterations)


def test_the_variances_are_those_of_the_library_that_took_the_authors_code_over() -> None:
    """diffusers' scheduler whose alphas are those of the grid; its pipeline divides by the variance at the state."""
    sigmas = np.append(grid(20), 0.0)  # the library's last step goes to 0
    products = 1 / (1 + sigmas[:-1][::-1] ** 2)
    betas = 1 - products / np.append(1.0, products[:-1])
    scheduler = DDPMParallelScheduler(trained_betas=betas, num_train_timesteps=21)
    scheduler.set_timesteps(21)
    theirs = np.array([float(scheduler._get_variance(int(t))) for t in scheduler.timesteps])
    np.testing.assert_allclose(posterior_variances(sigmas), theirs[1:], rtol=1e-4, atol=1e-19)
    np.testing.assert_allclose(posterior_variances(sigmas), preserving(sigmas)[1][1:], rtol=1e-12)


def test_the_estimate_before_the_first_iteration_is_the_start_at_the_size_of_the_last_level() -> None:
    x = start(BATCH)
    trace = Trace(iterates=[])
    final = ParaDiGMS(window=8).run(Boundary(NETWORK), DDIM(), grid(20), x, noise, trace)
    assert trace.iterates is not None
    torch.testing.assert_close(trace.iterates[0], x * ((1 + LOW**2) / (1 + HIGH**2)) ** 0.5, rtol=1e-12, atol=0)
    assert torch.equal(trace.iterates[-1], final)


@pytest.mark.parametrize("solver", [DDIM(), Heun(), DDPM(), DDPM(variance="fixedlarge")], ids=label)
@pytest.mark.parametrize("window", [1, 6, 100])
@pytest.mark.parametrize("to_zero", [False, True])
def test_without_tolerance_it_is_the_serial_sample(solver: Solver, window: int, to_zero: bool) -> None:
    x, sigmas = start(BATCH), np.append(grid(19), 0.0) if to_zero else grid(20)
    made = run(NETWORK, sigmas, x, solver, noise=noise, executor=ParaDiGMS(window=window, tolerance=0))
    torch.testing.assert_close(made.final, serial(NETWORK, sigmas, x, solver, noise), rtol=0, atol=1e-12)
    assert max(made.iterations) <= 20
    assert window > 1 or made.iterations == [20] * BATCH


def test_the_error_falls_with_the_tolerance_and_the_iterations_rise() -> None:
    x = start(BATCH)
    truth = serial(NETWORK, grid(64), x)
    errors, iterations = [], []
    for tolerance in (1.0, 0.1, 1e-2, 1e-3):
        made = run(NETWORK, grid(64), x, executor=ParaDiGMS(window=64, tolerance=tolerance))
        errors.append(float((made.final - truth).abs().max()))
        iterations.append(sum(made.iterations))
    assert errors == sorted(errors, reverse=True)
    assert iterations == sorted(iterations)
    assert errors[-1] < 1e-3
    assert iterations[-1] < BATCH * 64 / 2


def test_noise_is_drawn_once_a_step() -> None:
    drawn = []

    def counted(step: int) -> Tensor:
        drawn.append(step)
        return noise(step)

    run(NETWORK, grid(20), start(BATCH), DDPM(), noise=counted, executor=ParaDiGMS(window=8, tolerance=0.1))
    assert sorted(drawn) == list(range(20))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_keep_their_number_format_and_the_start_is_left_alone(dtype: torch.dtype) -> None:
    x = start(2, dtype)
    kept = x.clone()
    assert run(NETWORK, grid(10), x, executor=ParaDiGMS()).final.dtype == dtype
    assert torch.equal(x, kept)


def test_a_multistep_solver_is_refused() -> None:
    executor = ParaDiGMS()
    reason = executor.refusal({"solver": DPMPP2M()}, 16, NetworkParams())
    assert reason is not None
    assert '"dpmpp-2m" is multistep' in reason
    for solver in (DDIM(), DDPM(), Heun()):
        assert executor.refusal({"solver": solver}, 16, NetworkParams()) is None


@pytest.mark.parametrize("bad", [{"window": 0}, {"tolerance": -0.1}], ids=str)
def test_parameters_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        ParaDiGMS(**bad)
