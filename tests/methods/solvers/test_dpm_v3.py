"""DPM-Solver-v3: exact where its statistics are, equal to 3M without them, and statistics that are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from kit.block_kit import network
from kit.solver_kit import HIGH, LOW, START, mixture, no_noise, sample, smooth_statistics
from kit.toy_context import ToyContext
from scipy.integrate import solve_ivp
from torch import Tensor

import harness
from harness.errors import UsageError
from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams
from methods.networks.uvit import UViTParams
from methods.parts import Artifact
from methods.schedules.edm import EDM
from methods.schedules.logsnr import LogSNR
from methods.solvers.dpm_v3 import DPMSolverV3, power_weights
from methods.solvers.dpm_v3_statistics import StatisticsOfLevels, measure_statistics
from methods.solvers.dpmpp_3m import DPMPP3M
from methods.solvers.sa_solver import adams_weights
from methods.solvers.unipc import UniPC

ONE = torch.ones(1, 1, 1, 1, dtype=torch.float64)


def solver(artifact: Artifact | None, **params: Any) -> DPMSolverV3:
    made = DPMSolverV3(**params)
    made.artifact = artifact
    return made


def gaussian(mean: float, std: float = 0.5) -> Analytic:
    return Analytic(NetworkParams(), DataShape(1, 1, {"means": [[mean]], "stds": [std], "weights": [1.0]}))


# The function f along which g is a polynomial, for the statistics of the kit.


def known_function(lam: np.ndarray, powers: list[float]) -> np.ndarray:
    """Return f = e^S (g + B) at lam, rising from lam[0], for g with these powers of lam - lam[0]."""
    found = solve_ivp(
        lambda at, y: [
            0.2 * math.sin(at), 0.4 * math.cos(at / 2) * math.exp(-y[0]),
        ],
        (-math.log(HIGH), -math.log(LOW)), [0.0, 0.0], t_eval=lam, method="DOP853", rtol=1e-12, atol=1e-13,
    )  # fmt: skip
    scaled, drifted = found.y
    return np.exp(scaled) * (np.polyval(powers[::-1], lam + math.log(HIGH)) + drifted)


@pytest.mark.parametrize(("order", "powers"), [(1, [0.7]), (2, [0.7, -0.4]), (3, [0.7, -0.4, 0.3])])
def test_steps_are_exact_where_g_is_a_polynomial(order: int, powers: list[float]) -> None:
    sigmas, fine = LogSNR().levels(6, LOW, HIGH), -np.log(np.geomspace(HIGH, LOW, 4001))
    values = known_function(fine, powers)

    def at(lam: float) -> tuple[float, float]:
        return float(np.interp(lam, fine, values)), 0.6 - 0.3 * math.tanh(lam)

    def denoise(x: Tensor, s: float) -> Tensor:
        f, linear = at(-math.log(s))
        return (1 - linear) * x - f

    def slope(lam: float, y: np.ndarray) -> np.ndarray:
        f, linear = at(lam)
        return -(linear * y + f)

    method = solver(smooth_statistics(), order=order, corrector="none", lower_order_final=False)
    x, memory = 3.0 * ONE, method.init_memory(method.artifact)
    for i in range(6):
        after = method.step(x, i, sigmas, denoise, memory, no_noise)
        span = -math.log(sigmas[i]), -math.log(sigmas[i + 1])
        exact = solve_ivp(slope, span, [float(x)], method="DOP853", rtol=1e-10, atol=1e-12, max_step=0.02).y[0, -1]
        if i >= order - 1:
            assert float(after) == pytest.approx(exact, abs=2e-5)
        elif i == 0:
            assert abs(float(after) - exact) > 1e-3
        x = after


def test_without_statistics_steps_are_the_exponential_integrators_of_the_clean_estimate() -> None:
    sigmas = EDM().levels(8, LOW, HIGH)

    def denoise(x: Tensor, s: float) -> Tensor:
        return torch.full_like(x, math.sin(3 * s) + math.log(s))

    ours, x = solver(None, corrector="none", lower_order_final=False), ONE
    memory = ours.init_memory(None)
    for i in range(8):
        found = ours.step(x, i, sigmas, denoise, memory, no_noise)
        lam = -np.log(sigmas[max(i - 2, 0) : i + 2])[::-1]
        if i >= 2:
            weights = adams_weights(tuple(lam[1:]), lam[1], lam[0], 0.0)
            outputs = [float(denoise(x, float(sigmas[i - k]))) for k in range(3)]
            exact = float(sigmas[i + 1] / sigmas[i] * x) + sum(w * d for w, d in zip(weights, outputs, strict=True))
            assert float(found) == pytest.approx(exact, rel=1e-9)
        x = found


def test_corrected_states_are_of_higher_order() -> None:
    exact, errors = sample(DPMPP3M(), LogSNR().levels(4000, LOW, HIGH), mixture, START), {}
    for corrector in ("none", "same"):
        method = solver(smooth_statistics(), order=2, corrector=corrector)
        found = sample(method, EDM().levels(20, LOW, HIGH), mixture, START)
        errors[corrector] = float((found - exact).abs().max())
    assert errors["same"] < errors["none"]


def test_power_weights_by_hand() -> None:
    offsets = np.array([0.0, 0.5, -1.0])
    values = 2 + 3 * offsets - 4 * offsets**2
    assert power_weights(offsets, is_pseudo=False) @ values == pytest.approx([3, -4])
    # divided differences: 3 - 4 * 0.5, and the same last one
    assert power_weights(offsets, is_pseudo=True) @ values == pytest.approx([1, -4])
    assert power_weights(np.zeros(1), is_pseudo=False).size == 0
    assert power_weights(np.zeros(1), is_pseudo=True).size == 0


# Statistics.


def test_statistics_of_gaussian_data_are_known() -> None:
    context = ToyContext(gaussian(0.7), sigma_min=LOW, sigma_max=HIGH)
    left = measure_statistics(context, states=5, cells=60)
    levels = torch.from_numpy(np.geomspace(HIGH, LOW, 61))
    exact = levels**2 / (0.25 + levels**2)
    torch.testing.assert_close(left.tensors["l"].flatten(), exact, rtol=1e-6, atol=1e-6)
    assert left.tensors["l"].shape == (61, 1, 1, 1)
    assert float(left.tensors["s"].abs().max()) < 1e-3
    rate = -0.7 * -2 * exact * (1 - exact)  # f = -0.7 l, and dl/dlam = -2 l (1 - l)
    torch.testing.assert_close(left.tensors["b"].flatten()[1:-1], rate[1:-1], rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("mean", [0.0, 0.7])
def test_one_step_is_exact_for_gaussian_data(mean: float) -> None:
    net = gaussian(mean)
    context = ToyContext(net, sigma_min=LOW, sigma_max=HIGH)
    measured = solver(measure_statistics(context, states=4, cells=120))
    sigmas, x = EDM().levels(1, LOW, HIGH), START

    def denoise(state: Tensor, s: float) -> Tensor:
        return net(state, torch.full((len(state),), s, dtype=torch.float64))

    exact = net.flow(x, HIGH, LOW)
    assert exact is not None
    torch.testing.assert_close(sample(measured, sigmas, denoise, x), exact, rtol=1e-3, atol=1e-3)
    assert float((sample(solver(None), sigmas, denoise, x) - exact).abs().max()) > 0.1


def test_measured_statistics_lower_the_error_on_a_mixture() -> None:
    generator = torch.Generator().manual_seed(0)
    means = 0.5 * torch.randn(8, 16, generator=generator)
    facts = {"means": means.tolist(), "stds": [0.1] * 8, "weights": [1 / 8] * 8}
    net = Analytic(NetworkParams(), DataShape(1, 4, facts))
    x = 80.0 * torch.randn(100, 1, 4, 4, generator=generator, dtype=torch.float64)

    def denoise(state: Tensor, s: float) -> Tensor:
        return net(state, torch.full((len(state),), s, dtype=torch.float64))

    left = measure_statistics(ToyContext(net, sigma_min=0.002, sigma_max=80.0), states=128, cells=60)
    assert 0.4 < left.facts["explained"] < 1
    exact = sample(UniPC(), LogSNR().levels(1000, 0.002, 80.0), denoise, x)
    for steps in (5, 8):
        sigmas, errors = EDM().levels(steps, 0.002, 80.0), []
        for one in (solver(left), solver(None)):
            errors.append(float((sample(one, sigmas, denoise, x) - exact).norm()))
        assert errors[0] < 0.9 * errors[1]


def test_the_estimated_diagonal_is_that_of_the_jacobian() -> None:
    net = network(depth=2).double()
    left = measure_statistics(ToyContext(net, sigma_min=0.5, sigma_max=2.0), states=70, cells=3)
    context = ToyContext(net)
    x = 2.0 * torch.stack([context.noise(index) for index in range(70)]).double()
    sigma = torch.full((1,), 2.0, dtype=torch.float64)
    diagonals = []
    for row in x[:12]:
        jacobian = torch.autograd.functional.jacobian(lambda state: net(state, sigma), row[None])
        diagonals.append(jacobian.view(64, 64).diagonal())  # type: ignore[union-attr]
    exact = 1 - torch.stack(diagonals).mean().item()
    assert float(left.tensors["l"][0].mean()) == pytest.approx(exact, abs=0.05)
    again = measure_statistics(ToyContext(net, sigma_min=0.5, sigma_max=2.0), states=70, cells=3)
    assert torch.equal(left.tensors["l"], again.tensors["l"])


def test_integrals_of_a_step_are_made_once_and_have_the_state_s_type() -> None:
    statistics = StatisticsOfLevels(smooth_statistics(2, 3))
    first = statistics.interval(2.0, 1.0, ONE.float())
    assert statistics.interval(2.0, 1.0, ONE.float()).keep is first.keep
    assert first.keep.dtype == torch.float32
    assert first.keep.shape == (2, 3, 3)
    assert statistics.interval(2.0, 1.0, ONE).keep.dtype == torch.float64


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    assert DPMSolverV3().refusal({}, 5, UViTParams(depth=2, width=8, heads=1, patch=2)) is None
    classes = UViTParams(depth=2, width=8, heads=1, patch=2, classes=3, null_class=False)
    assert "no embedding for no class" in str(DPMSolverV3().refusal({}, 5, classes))
    guided = UViTParams(depth=2, width=8, heads=1, patch=2, classes=3)
    full = harness.registry.registry().make("denoiser", "full", {"guidance": 2.0})
    assert "without guidance" in str(DPMSolverV3().refusal({"denoiser": full}, 5, guided))
    with pytest.raises(UsageError, match="order"):
        harness.registry.registry().make("solver", "dpm-v3", {"order": 4})
