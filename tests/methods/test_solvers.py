"""Solvers: order of convergence, agreement with diffusers at the same levels, and what each promises about a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from numpy.polynomial import Polynomial
from pydantic import ValidationError
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams
from methods.parts import Solver
from methods.schedules.edm import EDM
from methods.schedules.logsnr import LogSNR
from methods.solvers.ddim import DDIM
from methods.solvers.ddpm import DDPM
from methods.solvers.dpmpp_2m import DPMPP2M
from methods.solvers.heun import Heun
from methods.solvers.ipndm import IPNDM
from methods.solvers.unipc import UniPC

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:diffusers")

Denoise = Callable[[Tensor, float], Tensor]

DETERMINISTIC: list[Solver] = [
    DDIM(),
    Heun(),
    DPMPP2M(),
    DPMPP2M(lower_order_final=False),
    *(IPNDM(order=order) for order in (2, 3, 4)),
    *(
        UniPC(order=order, variant=variant, lower_order_final=final)
        for order in (2, 3)
        for variant in ("bh1", "bh2")
        for final in (True, False)
    ),
]
ALL: list[Solver] = [*DETERMINISTIC, DDPM(), DDPM(variance="fixedlarge")]


def label(value: Any) -> str | None:
    return f"{value.name} {value.params}".replace(" ", "-") if isinstance(value, Solver) else None


def no_noise(step: int) -> Tensor:
    raise AssertionError("a deterministic solver asked for noise")


def sample(
    solver: Solver, sigmas: np.ndarray, denoise: Denoise, x: Tensor, noise: Callable[[int], Tensor] = no_noise
) -> Tensor:
    memory = solver.start()
    for i in range(len(sigmas) - 1):
        x = solver.step(x, i, sigmas, denoise, memory, noise)
    return x


def unit(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# A problem that is not linear: a mixture of two Gaussians on a line, and the flow from 5 to 0.05.

HIGH, LOW = 5.0, 0.05
MIXTURE = Analytic(
    NetworkParams(), DataShape(1, 1, {"means": [[-0.6], [0.7]], "stds": [0.2, 0.35], "weights": [0.4, 0.6]})
)
START = HIGH * torch.linspace(-2, 2, 9, dtype=torch.float64).view(9, 1, 1, 1)


def mixture(x: Tensor, sigma: float) -> Tensor:
    return MIXTURE(x, torch.full((len(x),), sigma, dtype=torch.float64))


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
    if isinstance(solver, UniPC) and not solver.params.lower_order_final:
        return 1 + solver.params.order
    return solver.order


@pytest.mark.parametrize("solver", DETERMINISTIC, ids=label)
def test_the_error_falls_with_the_order_of_the_solver(solver: Solver, exact_end: Tensor) -> None:
    # UniPC-3's first step is of third order in all, but its share is below 1e-9 here and fourth order is seen.
    assert slope_of(solver, exact_end) == pytest.approx(-asymptotic_order(solver), abs=0.1)


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
    memory = solver.start()
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
    memory = solver.start()
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


# The same levels in diffusers. Its schedulers for VP processes hold x / sqrt(1 + sigma^2).


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


GRIDS = [EDM().levels(n, LOW, HIGH) for n in (1, 2, 3, 5, 10, 14, 15, 20)]
TO_ZERO = [np.append(grid, 0.0) for grid in GRIDS]


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


@pytest.mark.parametrize("solver", ALL, ids=label)
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


# iPNDM extrapolates the noise estimate also to zero, and is compared with the library above.
@pytest.mark.parametrize("solver", [s for s in ALL if not isinstance(s, IPNDM)], ids=label)
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
    memory, x = solver.start(), START
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
            x = solver.step(x, i, grid, mixture, solver.start(), noise)
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
    ):
        with pytest.raises(ValidationError):
            kind(**wrong)
