"""The exact denoiser: equal to quadrature and to the score, stable at the extremes, countable."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams

MEANS, STDS, WEIGHTS = [-0.8, 0.1, 0.9], [0.1, 0.3, 0.2], [0.2, 0.5, 0.3]


def network(means: list[list[float]], stds: list[float], weights: list[float], resolution: int = 1) -> Analytic:
    channels = len(means[0]) // resolution**2
    return Analytic(
        NetworkParams(), DataShape(channels, resolution, {"means": means, "stds": stds, "weights": weights})
    )


def line() -> Analytic:
    return network([[m] for m in MEANS], STDS, WEIGHTS)


def images() -> Analytic:
    generator = torch.Generator().manual_seed(3)
    means = torch.randn(4, 12, generator=generator).mul(0.5).tolist()
    return network(means, [0.1, 0.2, 0.3, 0.2], [1.0, 2.0, 3.0, 4.0], resolution=2)


def density(y: float) -> float:
    return sum(w * math.exp(-((y - m) ** 2) / (2 * c * c)) / c for w, m, c in zip(WEIGHTS, MEANS, STDS, strict=True))


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("x", [-2.0, -0.3, 0.5, 1.7])
def test_in_one_dimension_it_is_the_posterior_mean_by_quadrature(x: float, sigma: float) -> None:
    peak = min((y - x) ** 2 for y in np.linspace(-2, 2, 401)) / (2 * sigma**2)  # keeps the integrand off underflow

    def joint(y: float) -> float:
        return density(y) * math.exp(peak - (y - x) ** 2 / (2 * sigma**2))

    breaks = sorted({*MEANS, min(max(x, -2.9), 2.9)})
    mass = quad(joint, -3, 3, points=breaks, epsabs=0, epsrel=1e-12, limit=500)[0]
    moment = quad(lambda y: y * joint(y), -3, 3, points=breaks, epsabs=1e-13, epsrel=1e-12, limit=500)[0]
    answer = line()(torch.full((1, 1, 1, 1), x, dtype=torch.float64), torch.tensor([sigma], dtype=torch.float64))
    assert float(answer) == pytest.approx(moment / mass, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 4.0])
def test_it_is_the_state_plus_sigma_squared_times_the_score(sigma: float) -> None:
    net = images()
    flat_means = net.means

    def log_density(x: Tensor) -> Tensor:
        parts = [
            torch.distributions.MultivariateNormal(mean, (v + sigma**2) * torch.eye(12, dtype=torch.float64))
            for mean, v in zip(flat_means, net.variances, strict=True)
        ]
        return torch.stack([w + p.log_prob(x) for w, p in zip(net.log_weights, parts, strict=True)]).logsumexp(0)

    x = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-5
    steps = step * torch.eye(12, dtype=torch.float64)
    score = torch.stack([(log_density(x + e) - log_density(x - e)) / (2 * step) for e in steps])
    answer = net(x.view(1, 3, 2, 2), torch.tensor([sigma], dtype=torch.float64))[0].flatten()
    torch.testing.assert_close(answer, x + sigma**2 * score, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_stable_at_both_ends_of_the_range_and_far_from_the_data(dtype: torch.dtype) -> None:
    net = images()
    mean = (net.means * net.log_weights.exp()[:, None]).sum(0).view(3, 2, 2)
    at_mean = net(mean[None].to(dtype), torch.tensor([80.0]))
    assert at_mean.dtype == dtype
    torch.testing.assert_close(at_mean[0].double(), mean, atol=1e-3, rtol=0)  # nothing is known but the prior
    clean = net.means.view(4, 3, 2, 2).to(dtype)
    torch.testing.assert_close(net(clean, torch.full((4,), 0.002)), clean, atol=1e-4, rtol=0)  # all is known
    for far in (1e3, -1e3):
        for sigma in (0.002, 80.0):
            assert torch.isfinite(net(torch.full((1, 3, 2, 2), far, dtype=dtype), torch.tensor([sigma]))).all()


def test_single_precision_agrees_with_double_at_every_level() -> None:
    net = images()
    generator = torch.Generator().manual_seed(2)
    sigma = torch.logspace(math.log10(0.002), math.log10(80.0), 40, dtype=torch.float64)
    clean = net.means[torch.arange(40) % 4].view(40, 3, 2, 2)
    noise = torch.randn(40, 3, 2, 2, dtype=torch.float64, generator=generator)
    x = clean + sigma[:, None, None, None] * noise
    torch.testing.assert_close(net(x.float(), sigma).double(), net(x, sigma), atol=3e-5, rtol=0)


def test_every_row_has_its_own_level_and_no_row_depends_on_the_others() -> None:
    net = images()
    x = torch.randn(5, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    sigma = torch.tensor([0.002, 0.1, 1.0, 10.0, 80.0], dtype=torch.float64)
    together = net(x, sigma)
    for row in range(5):
        torch.testing.assert_close(together[row : row + 1], net(x[row : row + 1], sigma[row : row + 1]))


def test_its_operations_are_counted_and_grow_with_the_batch() -> None:
    net = images()

    def flops(rows: int) -> int:
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(rows, 3, 2, 2), torch.ones(rows))
        return counter.get_total_flops()

    assert flops(1) == 2 * 4 * 12 * 2  # distances to, and mixing of, 4 means of 12 values: multiply and add
    assert flops(7) == 7 * flops(1)


def test_weights_count_only_relative_to_each_other() -> None:
    x, sigma = torch.full((1, 1, 1, 1), 0.4, dtype=torch.float64), torch.tensor([0.5])
    scaled = network([[m] for m in MEANS], STDS, [10 * w for w in WEIGHTS])
    torch.testing.assert_close(line()(x, sigma), scaled(x, sigma))


def test_the_flow_of_one_gaussian_solves_the_probability_flow() -> None:
    mean = [0.3, -0.2, 0.1, 0.4]
    net = network([mean], [0.4], [1.0], resolution=2)
    x = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def flow(state: Tensor, s_from: float, s_to: float) -> Tensor:
        answer = net.flow(state, s_from, s_to)
        assert answer is not None
        return answer

    torch.testing.assert_close(flow(x, 2.0, 2.0), x)
    torch.testing.assert_close(flow(flow(x, 5.0, 1.0), 1.0, 0.1), flow(x, 5.0, 0.1))
    for s in (0.05, 0.7, 6.0):
        state, step = flow(x, 2.0, s), 1e-5 * s
        slope = (flow(x, 2.0, s + step) - flow(x, 2.0, s - step)) / (2 * step)
        expected = (state - net(state, torch.full((3,), s, dtype=torch.float64))) / s
        torch.testing.assert_close(slope, expected, rtol=1e-7, atol=1e-9)


def test_the_flow_of_several_gaussians_has_no_closed_form() -> None:
    assert line().flow(torch.zeros(1, 1, 1, 1), 80.0, 0.002) is None


def test_it_is_exact_and_cannot_be_trained() -> None:
    assert not Analytic.trainable
    assert not list(line().parameters())
    with pytest.raises(TypeError, match='family "analytic" is exact'):
        line().loss(torch.zeros(1, 1, 1, 1), torch.Generator())


def test_a_data_set_without_the_facts_or_with_facts_that_do_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a data set with the facts means, stds, weights"):
        Analytic(NetworkParams(), DataShape(3, 32))
    with pytest.raises(ValueError, match="must have the shapes"):
        Analytic(NetworkParams(), DataShape(1, 2, {"means": [[0.0]], "stds": [1.0], "weights": [1.0]}))
    with pytest.raises(ValueError, match="must have the shapes"):
        Analytic(NetworkParams(), DataShape(1, 1, {"means": [[0.0]], "stds": [1.0], "weights": [0.5, 0.5]}))
    for stds, weights in (([0.0], [1.0]), ([1.0], [0.0])):
        with pytest.raises(ValueError, match="must be positive"):
            Analytic(NetworkParams(), DataShape(1, 1, {"means": [[0.0]], "stds": stds, "weights": weights}))
