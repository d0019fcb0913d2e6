"""PSNR and SSIM have their closed forms, and judge each pair by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.metrics.image_pairs import psnr_by_image, ssim_by_image

RNG = np.random.default_rng(0)


def pictures(n: int = 4, channels: int = 3, side: int = 16) -> torch.Tensor:
    return torch.from_numpy(RNG.integers(0, 256, (n, channels, side, side)).astype(np.uint8))


@pytest.mark.parametrize("offset", [1, 5, 51, 255])
def test_psnr_of_a_known_offset(offset: int) -> None:
    flat = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert psnr_by_image(flat, flat + offset) == pytest.approx(20 * np.log10(255 / offset), abs=1e-12)


def test_psnr_of_one_wrong_pixel_among_many() -> None:
    images = torch.zeros(1, 1, 10, 10, dtype=torch.uint8)
    others = images.clone()
    others[0, 0, 3, 4] = 20
    assert psnr_by_image(images, others) == pytest.approx(10 * np.log10(255**2 / (400 / 100)), abs=1e-12)


def test_equal_pictures_have_no_finite_psnr_and_ssim_1() -> None:
    images = pictures()
    assert np.isinf(psnr_by_image(images, images.clone())).all()
    assert (ssim_by_image(images, images.clone()) == 1.0).all()


def test_ssim_of_two_flat_pictures_is_its_luminance_term() -> None:
    dark, bright = torch.full((1, 3, 12, 15), 50, dtype=torch.uint8), torch.full((1, 3, 12, 15), 80, dtype=torch.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim_by_image(dark, bright) == pytest.approx((2 * 50 * 80 + c1) / (50**2 + 80**2 + c1), abs=1e-12)


def by_hand(image: np.ndarray, other: np.ndarray) -> float:
    """Return the SSIM of one channel, window by window, as its paper defines it."""
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2, found = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for row in range(image.shape[0] - 10):
        for column in range(image.shape[1] - 10):
            x, y = (one[row : row + 11, column : column + 11].astype(float) for one in (image, other))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            found.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(found))


@pytest.mark.parametrize("side", [11, 12, 20])
def test_ssim_is_the_mean_over_windows_within_the_picture(side: int) -> None:
    images = pictures(2, 3, side)
    others = (images.float() + torch.from_numpy(RNG.normal(0, 30, images.shape))).clamp(0, 255).to(torch.uint8)
    expected = [
        np.mean([by_hand(x, y) for x, y in zip(one.numpy(), two.numpy(), strict=True)])
        for one, two in zip(images, others, strict=True)
    ]
    assert ssim_by_image(images, others) == pytest.approx(expected, abs=1e-10)


def test_a_pair_has_the_same_figures_in_any_batch() -> None:
    images, others = pictures(6), pictures(6)
    for figure in (psnr_by_image, ssim_by_image):
        alone = np.concatenate([figure(images[k : k + 1], others[k : k + 1]) for k in range(6)])
        assert figure(images, others) == pytest.approx(alone, rel=1e-12)
