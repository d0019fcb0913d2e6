"""Preconditioning against Karras et al. 2022, table 1, and against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from methods.networks.preconditioning import Draws, Edm, Vp

SIGMAS = torch.logspace(-3, 2, 11, dtype=torch.float64)


def test_edm_coefficients_are_table_1() -> None:
    c = Edm(sigma_data=0.5).coefficients(torch.tensor([2.0], dtype=torch.float64))
    assert c.skip.item() == pytest.approx(0.25 / 4.25)
    assert c.out.item() == pytest.approx(2 * 0.5 / math.sqrt(4.25))
    assert c.scale.item() == pytest.approx(1 / math.sqrt(4.25))
    assert c.noise.item() == pytest.approx(math.log(2) / 4)


def test_edm_gives_the_network_unit_variance_in_and_out() -> None:
    """The two conditions that the coefficients are derived from (appendix B.6)."""
    edm = Edm(sigma_data=0.7)
    c = edm.coefficients(SIGMAS)
    data, noise = 0.7**2, SIGMAS**2
    torch.testing.assert_close(c.scale**2 * (data + noise), torch.ones_like(SIGMAS))
    target = ((1 - c.skip) ** 2 * data + c.skip**2 * noise) / c.out**2
    torch.testing.assert_close(target, torch.ones_like(SIGMAS))
    torch.testing.assert_close(edm.weight(SIGMAS) * c.out**2, torch.ones_like(SIGMAS))


def test_edm_with_the_ideal_network_denoises_a_gaussian_exactly() -> None:
    """For N(0, sigma_data²) data the posterior mean is c_skip x, so F = 0 is ideal."""
    edm = Edm(sigma_data=0.7)
    x = torch.randn(11, 1, 2, 2, dtype=torch.float64)
    found = edm.denoise(lambda x, t: torch.zeros_like(x), x, SIGMAS)
    expected = x * (0.49 / (SIGMAS**2 + 0.49)).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(found, expected)


def test_inner_sees_float32_and_the_state_keeps_float64() -> None:
    seen: list[torch.dtype] = []

    def inner(x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        seen.extend([x.dtype, label.dtype])
        return x

    x = torch.randn(2, 1, 2, 2, dtype=torch.float64)
    sigma = torch.tensor([0.1, 1.0], dtype=torch.float64)
    assert Edm(0.5).denoise(inner, x, sigma).dtype == torch.float64
    assert Vp().denoise(inner, x, sigma).dtype == torch.float64
    assert seen == [torch.float32] * 4


def test_edm_loss_of_a_network_that_says_zero_is_one() -> None:
    """Unit variance of the target means loss 1 at every level, for data of the assumed deviation."""
    edm, generator = Edm(0.5), torch.Generator().manual_seed(0)
    images = 0.5 * torch.randn(4000, 1, 4, 4, generator=generator)
    loss = edm.loss(lambda x, t: torch.zeros_like(x), images, edm.draws((4000, 1, 4, 4), generator))
    assert loss.item() == pytest.approx(1, abs=0.02)


def test_edm_loss_of_the_true_answer_is_zero() -> None:
    edm, generator = Edm(0.5), torch.Generator().manual_seed(0)
    images = torch.rand(8, 1, 4, 4, generator=generator)
    sigma, noise = edm.draws((8, 1, 4, 4), generator)
    c = edm.coefficients(sigma.reshape(-1, 1, 1, 1))
    truth = (images - c.skip * (images + sigma.reshape(-1, 1, 1, 1) * noise)) / c.out
    assert edm.loss(lambda x, t: truth, images, Draws(sigma, noise)).item() < 1e-8


def test_noise_levels_are_log_normal() -> None:
    sigma, _ = Edm(0.5, p_mean=-1.2, p_std=0.9).draws((100_000, 1), torch.Generator().manual_seed(0))
    assert sigma.log().mean().item() == pytest.approx(-1.2, abs=0.02)
    assert sigma.log().std().item() == pytest.approx(0.9, abs=0.02)


def test_vp_with_the_true_noise_returns_the_clean_image() -> None:
    clean, noise = torch.rand(11, 1, 2, 2, dtype=torch.float64), torch.randn(11, 1, 2, 2, dtype=torch.float64)
    sigma = SIGMAS.reshape(-1, 1, 1, 1)
    seen: dict[str, torch.Tensor] = {}

    def eps(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.update(x=x, t=t)
        return noise

    vp = Vp()
    torch.testing.assert_close(vp.denoise(eps, clean + sigma * noise, SIGMAS, torch.float64), clean)
    torch.testing.assert_close(seen["t"], 999 * vp.process.time(SIGMAS))
    alpha = 1 / (1 + sigma**2).sqrt()  # diffusion-time state: alpha y + sqrt(1 - alpha²) n
    torch.testing.assert_close(seen["x"], alpha * clean + (1 - alpha**2).sqrt() * noise)
