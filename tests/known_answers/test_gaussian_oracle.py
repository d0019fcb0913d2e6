"""Euler on Gaussian data has a closed form: the answer is the exact one times prod_i cos(theta_i - theta_{i+1}).

theta = arctan(sigma / c) for data of standard deviation c. The printed numbers are those of sections 7.1, 7.2 and 7.3
of the specification of the few-step schedule, range 80 to 0.002.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams
from methods.parts import Schedule, Solver
from methods.schedules.arctan import Arctan
from methods.schedules.cosine import Cosine
from methods.schedules.edm import EDM
from methods.schedules.logsnr import LogSNR
from methods.schedules.quadratic_t import QuadraticT
from methods.schedules.uniform_sigma import UniformSigma
from methods.schedules.uniform_t import UniformT
from methods.solvers.ddim import DDIM

LOW, HIGH, C = 0.002, 80.0, 0.5
HAND_MADE: list[Schedule] = [UniformSigma(), UniformT(), QuadraticT(), Cosine(), LogSNR(), EDM()]
TABLE = {  # relative error at N = 4, 6, 8, 10, 16 for c = 0.5; at N = 4, 6, 8, 10 for the power law
    "uniform-sigma": ((0.9710, 0.9585, 0.9461, 0.9337, 0.8967), (0.9575, 0.9393, 0.9213, 0.9036)),
    "uniform-t": ((0.5282, 0.3767, 0.2915, 0.2379, 0.1539), (0.5115, 0.4063, 0.3442, 0.3020)),
    "quadratic-t": ((0.3295, 0.2344, 0.1815, 0.1481, 0.0953), (0.3690, 0.2659, 0.2077, 0.1702)),
    "cosine": ((0.3288, 0.2279, 0.1748, 0.1419, 0.0908), (0.3847, 0.2983, 0.2482, 0.2146)),
    "logsnr": ((0.4395, 0.3502, 0.2811, 0.2327, 0.1526), (0.4931, 0.3616, 0.2821, 0.2326)),
    "edm": ((0.5327, 0.3633, 0.3010, 0.2472, 0.1627), (0.5209, 0.3738, 0.2950, 0.2445)),
}
OPTIMUM = {4: 0.2684, 6: 0.1856, 8: 0.1420, 10: 0.1151, 16: 0.0734}
LAST_DIGIT = 0.5001e-4


def shrinkage(sigmas: np.ndarray, c: float) -> float:
    """Return x_N / x(s_N) of Euler's answer in closed form."""
    return float(np.prod(np.cos(np.diff(np.arctan(sigmas / c)))))


def euler(stds: np.ndarray, sigmas: np.ndarray, x: torch.Tensor, solver: Solver | None = None) -> torch.Tensor:
    """Return the solver's answer for independent zero-mean coordinates of the given stds [dim], x [batch, dim]."""
    solver = solver or DDIM()
    variances = torch.from_numpy(stds**2)
    for i in range(len(sigmas) - 1):
        x = solver.step(
            x, i, sigmas, lambda y, s: variances / (variances + s * s) * y, solver.init_memory(None), no_noise
        )
    return x


def no_noise(step: int) -> torch.Tensor:
    raise AssertionError("a deterministic solver asked for noise")


def relative_error(stds: np.ndarray, sigmas: np.ndarray) -> float:
    """Return the root of the summed squared errors over that of the exact answer, x_0 of its true size at HIGH."""
    start = torch.from_numpy(np.sqrt(stds**2 + HIGH**2))[None]
    exact = torch.from_numpy(np.sqrt(stds**2 + LOW**2))[None]
    return float((euler(stds, sigmas, start) - exact).norm() / exact.norm())


@pytest.mark.parametrize("schedule", HAND_MADE, ids=lambda s: s.name)
def test_every_hand_made_schedule_has_the_tabled_error_on_gaussian_data(schedule: Schedule) -> None:
    for steps, expected in zip((4, 6, 8, 10, 16), TABLE[schedule.name][0], strict=True):
        assert relative_error(np.array([C]), schedule.levels(steps, LOW, HIGH)) == pytest.approx(
            expected, abs=LAST_DIGIT
        )


@pytest.mark.parametrize("schedule", HAND_MADE, ids=lambda s: s.name)
def test_every_hand_made_schedule_has_the_tabled_error_on_power_law_data(schedule: Schedule) -> None:
    stds = 1 / (1 + np.arange(64.0))
    for steps, expected in zip((4, 6, 8, 10), TABLE[schedule.name][1], strict=True):
        assert relative_error(stds, schedule.levels(steps, LOW, HIGH)) == pytest.approx(expected, abs=LAST_DIGIT)


def test_arctan_has_the_levels_and_errors_of_the_closed_form_optimum() -> None:
    np.testing.assert_allclose(Arctan().levels(4, LOW, HIGH)[1:-1], [1.19463, 0.49888, 0.20795], atol=0.5001e-5)
    np.testing.assert_allclose(
        Arctan().levels(6, LOW, HIGH)[1:-1], [1.83269, 0.86039, 0.49888, 0.28906, 0.1352], atol=0.5001e-5
    )
    for steps, expected in OPTIMUM.items():
        error = relative_error(np.array([C]), Arctan().levels(steps, LOW, HIGH))
        assert error == pytest.approx(expected, abs=LAST_DIGIT)
        span = np.arctan(HIGH / C) - np.arctan(LOW / C)
        assert error == pytest.approx(1 - np.cos(span / steps) ** steps, rel=1e-11)


@pytest.mark.parametrize("steps", [4, 8])
def test_no_move_of_an_inner_level_improves_arctan(steps: int) -> None:
    best = Arctan().levels(steps, LOW, HIGH)
    for i in range(1, steps):
        for change in (0.99, 1.01):
            moved = best.copy()
            moved[i] *= change
            assert shrinkage(moved, C) < shrinkage(best, C)


@pytest.mark.parametrize("schedule", [*HAND_MADE, Arctan()], ids=lambda s: s.name)
@pytest.mark.parametrize("steps", [1, 5, 40])
def test_euler_with_the_exact_network_shrinks_by_the_product_of_cosines(schedule: Schedule, steps: int) -> None:
    mean = np.linspace(-0.4, 0.6, 12)
    network = Analytic(NetworkParams(), DataShape(3, 2, {"means": [mean.tolist()], "stds": [C], "weights": [1.0]}))
    sigmas = schedule.levels(steps, LOW, HIGH)
    x = start = HIGH * torch.randn(5, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for i in range(steps):
        x = DDIM().step(x, i, sigmas, lambda y, s: network(y, torch.full((5,), s, dtype=torch.float64)), None, no_noise)
    exact = network.flow(start, HIGH, LOW)
    assert exact is not None
    centre = torch.from_numpy(mean).view(3, 2, 2)
    np.testing.assert_allclose(x - centre, shrinkage(sigmas, C) * (exact - centre), rtol=1e-11, atol=1e-14)
    alone = euler(np.array([C]), sigmas, torch.tensor([[1.0]], dtype=torch.float64))
    expected = shrinkage(sigmas, C) * np.sqrt((C**2 + LOW**2) / (C**2 + HIGH**2))
    assert float(alone) == pytest.approx(expected, rel=1e-12)


def test_the_absolute_errors_at_eight_steps_are_the_printed_ones() -> None:
    exact = np.sqrt((C**2 + LOW**2) / (C**2 + HIGH**2))
    one = torch.tensor([[1.0]], dtype=torch.float64)
    assert exact - float(euler(np.array([C]), EDM().levels(8, LOW, HIGH), one)) == pytest.approx(1.881e-3, abs=5e-7)
    assert exact - float(euler(np.array([C]), Arctan().levels(8, LOW, HIGH), one)) == pytest.approx(8.877e-4, abs=5e-8)


class WrongEnd(DDIM):
    """A mutant: asks for D at the end of the step instead of its start."""

    def step(self, x, i, sigmas, denoise, memory, noise):  # type: ignore[no-untyped-def]
        return super().step(x, i, sigmas, lambda y, s: denoise(y, float(sigmas[i + 1])), memory, noise)


def test_a_mutant_that_evaluates_at_the_wrong_end_does_not_shrink_by_the_product() -> None:
    sigmas = EDM().levels(8, LOW, HIGH)
    mutant = euler(np.array([C]), sigmas, torch.tensor([[1.0]], dtype=torch.float64), WrongEnd())
    expected = shrinkage(sigmas, C) * np.sqrt((C**2 + LOW**2) / (C**2 + HIGH**2))
    assert abs(float(mutant) / expected - 1) > 0.1
