"""Times and levels of VP processes: against closed forms, DDPM's own products, and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.networks.preconditioning import Draws, Vp
from methods.networks.vp_process import DiscreteBeta, LinearBeta, ScaledLinearBeta, VpProcess

PROCESSES: dict[str, VpProcess] = {"linear": LinearBeta(), "discrete": DiscreteBeta(), "latent": ScaledLinearBeta()}
LAST = {"linear": 1.0, "discrete": 0.999, "latent": 0.999}
"""The noisiest time of each process."""
LEVELS = {"linear": (-1.9, 2.1), "discrete": (-1.9, 2.1), "latent": (-1.53, 1.16)}
"""Exponents of levels that each process has."""


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def ddpm_levels() -> np.ndarray:
    """Return the level of each of DDPM's 1000 steps: deviation of the noise over scale of the data."""
    kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    return np.sqrt((1 - kept) / kept)


def latent_alphas() -> np.ndarray:
    """Return the share of the data's variance after each of the 1000 steps of Stable Diffusion."""
    roots = math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) * np.arange(1000) / 999
    return np.exp(np.cumsum(np.log1p(-(roots**2))))


@pytest.mark.parametrize("name", PROCESSES)
def test_time_and_level_are_inverse_of_each_other(name: str) -> None:
    process = PROCESSES[name]
    times = torch.linspace(1e-4, LAST[name], 4321, dtype=torch.float64)
    torch.testing.assert_close(process.time(process.sigma(times)), times, rtol=0, atol=1e-12)
    sigmas = torch.logspace(*LEVELS[name], 500, dtype=torch.float64)
    torch.testing.assert_close(process.sigma(process.time(sigmas)), sigmas, rtol=1e-11, atol=0)


@pytest.mark.parametrize("name", PROCESSES)
def test_time_rises_with_the_level(name: str) -> None:
    times = PROCESSES[name].time(torch.logspace(*LEVELS[name], 500, dtype=torch.float64))
    assert (times.diff() > 0).all()


@pytest.mark.parametrize("name", PROCESSES)
def test_levels_outside_the_process_get_its_nearest_end(name: str) -> None:
    times = PROCESSES[name].time(doubles(1e-12, 200.0, 1e4))
    assert times[0].item() == pytest.approx(0, abs=1e-15)
    assert times[1:].tolist() == pytest.approx([LAST[name]] * 2, abs=0)


def test_linear_beta_has_its_known_levels() -> None:
    """sigma(t)² = exp(integral of beta) - 1, here integrated numerically."""
    assert LinearBeta().sigma(doubles(1.0)).item() == pytest.approx(math.sqrt(math.exp(10.05) - 1), rel=1e-14)
    assert LinearBeta().sigma(doubles(1.0)).item() == pytest.approx(152.17, abs=0.01)
    for end in (1e-3, 0.3, 0.8):
        middles = (np.arange(1000) + 0.5) * end / 1000
        integral = np.sum(0.1 + 19.9 * middles) * end / 1000
        assert LinearBeta().sigma(doubles(end)).item() == pytest.approx(math.sqrt(math.expm1(integral)), rel=1e-9)


def test_linear_beta_keeps_its_precision_near_the_data() -> None:
    """t is about 10 sigma² there, which a textbook root would lose to cancellation."""
    assert LinearBeta().time(doubles(1e-7)).item() == pytest.approx(1e-13, rel=1e-9)


def test_discrete_levels_are_those_of_ddpm() -> None:
    levels = ddpm_levels()
    found = DiscreteBeta().sigma(torch.arange(1000, dtype=torch.float64) / 1000)
    np.testing.assert_allclose(found.numpy(), levels, rtol=1e-10)
    assert found[0].item() == pytest.approx(math.sqrt(1e-4 / 0.9999))
    assert found[-1].item() == pytest.approx(157.41, abs=0.01)
    taus = DiscreteBeta().label(DiscreteBeta().time(torch.from_numpy(levels)))
    np.testing.assert_allclose(taus.numpy(), np.arange(1000), atol=1e-9)


def test_latent_levels_are_those_of_stable_diffusion() -> None:
    """First and last share of the data's variance: 1 - 0.00085, and the 0.00466 that its users know."""
    process, steps = ScaledLinearBeta(), torch.arange(1000, dtype=torch.float64) / 1000
    alphas = 1 / (1 + process.sigma(steps).numpy() ** 2)
    np.testing.assert_allclose(alphas, latent_alphas(), rtol=1e-12)
    assert alphas[0] == pytest.approx(0.99915, rel=1e-12)
    assert alphas[-1] == pytest.approx(latent_alphas()[-1], rel=1e-12) == pytest.approx(0.0046600985, rel=1e-8)
    assert process.sigma(steps[[0, -1]]).tolist() == pytest.approx([0.02916716, 14.61464123], rel=1e-7)


def test_a_latent_network_is_told_1_to_1000() -> None:
    """At the levels that it was trained on: whole numbers, one after the other."""
    process, alphas = ScaledLinearBeta(), latent_alphas()
    told = process.label(process.time(torch.from_numpy(np.sqrt((1 - alphas) / alphas))))
    np.testing.assert_allclose(told.numpy(), np.arange(1, 1001), rtol=0, atol=1e-9)
    coefficients = Vp(process).coefficients(doubles(1e-6, 1e6))
    assert coefficients.noise.tolist() == [1, 1000]  # beyond both ends too


def test_between_two_steps_the_logarithm_is_interpolated() -> None:
    levels = ddpm_levels()
    halfway = DiscreteBeta().sigma(doubles(0.0005, 0.4995, 0.9985)).numpy()
    np.testing.assert_allclose(halfway, np.sqrt(levels[[0, 499, 998]] * levels[[1, 500, 999]]), rtol=1e-10)


def test_times_beyond_the_last_step_stay_on_it() -> None:
    found = DiscreteBeta().sigma(doubles(0.999, 0.9995, 1.0, 3.0, -1.0))
    assert found[:4].unique().tolist() == [found[0].item()]
    assert found[4].item() == pytest.approx(ddpm_levels()[0])


def test_labels_are_the_networks_own_units() -> None:
    assert LinearBeta().label(doubles(0.0, 0.5, 1.0)).tolist() == [0.0, 499.5, 999.0]
    assert DiscreteBeta().label(doubles(0.0, 0.5, 0.999)).tolist() == [0.0, 500.0, 999.0]
    assert ScaledLinearBeta().label(doubles(0.0, 0.5, 0.999)).tolist() == [1.0, 501.0, 1000.0]


def test_continuous_draws_fill_the_interval_evenly() -> None:
    uniform = torch.linspace(0, 1 - 2**-53, 100_001, dtype=torch.float64)
    drawn = LinearBeta().draw(uniform).sort().values
    assert drawn[0].item() == pytest.approx(1e-3)
    assert drawn[-1].item() == 1
    torch.testing.assert_close(drawn.diff(), torch.full((100_000,), 0.999e-5, dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("process", "first"), [(DiscreteBeta(), 0), (ScaledLinearBeta(), 1)])
def test_discrete_draws_take_every_step_equally_often(process: DiscreteBeta, first: int) -> None:
    uniform = (torch.arange(5000, dtype=torch.float64) + 0.5) / 5000
    labels = process.label(process.draw(uniform))
    torch.testing.assert_close(labels, labels.round(), rtol=0, atol=1e-10)
    assert (labels.round().long() - first).bincount().tolist() == [5] * 1000
    assert process.label(process.draw(doubles(0.0, 1 - 2**-53))).tolist() == [first, first + 999]


@pytest.mark.parametrize("name", PROCESSES)
def test_training_draws_are_uniform_in_time(name: str) -> None:
    sigma, noise = Vp(PROCESSES[name]).draws((20_000, 1), torch.Generator().manual_seed(0))
    assert sigma.dtype == noise.dtype == torch.float32
    times = PROCESSES[name].time(sigma.double())
    assert ((times * 10).floor().long().clamp(max=9).bincount() / 20_000).tolist() == pytest.approx(
        [0.1] * 10, abs=0.01
    )
    assert noise.std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("process", "first"), [(DiscreteBeta(), 0), (ScaledLinearBeta(), 1)])
def test_a_discrete_network_is_trained_on_whole_steps(process: DiscreteBeta, first: int) -> None:
    """Though its levels pass through float32 on the way."""
    vp, seen = Vp(process), list[Tensor]()

    def inner(x: Tensor, label: Tensor) -> Tensor:
        seen.append(label)
        return x

    images = torch.zeros(500, 1, 1, 1)
    vp.loss(inner, images, vp.draws((500, 1, 1, 1), torch.Generator().manual_seed(0)))
    torch.testing.assert_close(seen[0], seen[0].round(), rtol=0, atol=1e-3)
    assert len(seen[0].round().unique()) > 300
    assert first <= seen[0].round().min()
    assert seen[0].round().max() <= first + 999


@pytest.mark.parametrize("name", PROCESSES)
def test_training_loss_is_plain_in_the_noise(name: str) -> None:
    """Of the true noise it is 0, of silence the noise's variance, 1, whatever the images."""
    vp, generator = Vp(PROCESSES[name]), torch.Generator().manual_seed(0)
    images = torch.rand(4000, 1, 4, 4, generator=generator) * 2 - 1
    sigma, noise = vp.draws((4000, 1, 4, 4), generator)
    draws = Draws(sigma, noise)
    assert vp.loss(lambda x, t: noise, images, draws).item() < 1e-8
    silent = vp.loss(lambda x, t: torch.zeros_like(x), images, draws).item()
    assert silent == pytest.approx(1, abs=0.02)
    assert silent == pytest.approx(noise.square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", PROCESSES)
def test_training_input_is_the_diffused_image(name: str) -> None:
    """alpha y + sqrt(1 - alpha²) n with alpha² = 1 / (1 + sigma²)."""
    vp, clean, noise = Vp(PROCESSES[name]), torch.rand(3, 1, 2, 2), torch.randn(3, 1, 2, 2)
    asked = vp.regression(clean, Draws(torch.tensor([0.1, 2.0, 100.0]), noise))
    alpha = (1 / (1 + torch.tensor([0.1, 2.0, 100.0]) ** 2)).sqrt()[:, None, None, None]
    torch.testing.assert_close(asked.scaled, alpha * clean + (1 - alpha**2).sqrt() * noise)
    torch.testing.assert_close(asked.target, noise, rtol=0, atol=1e-4)
