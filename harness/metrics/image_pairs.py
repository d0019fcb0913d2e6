"""PSNR and SSIM of pairs of pictures, each pair by itself.

PSNR = 10 log10(255^2 / MSE), the mean squared error over the pixels and channels of one pair. SSIM after Wang et al.
2004 (doi:10.1109/TIP.2003.819861): an 11 x 11 Gaussian window of sigma 1.5 wherever it lies within the picture,
K1 = 0.01, K2 = 0.03, data range 255, each channel by itself, then the mean over places and channels.

Not torchmetrics (1.9.0): its SSIM mirrors pictures at their edges and averages over those windows too. On 16 x 16
pictures that moves the third digit, and pictures smaller than the window get a value. Its PSNR rounds to 7 digits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

RANGE = 255.0
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03

ByImage = npt.NDArray[np.float64]
"""A figure of each pair, float64 [n]."""


def psnr_by_image(images: Tensor, others: Tensor) -> ByImage:
    """Return the PSNR of each pair in dB, from uint8 pictures [n, C, H, W]; infinity where both are equal."""
    errors = (images.double() - others.double()).square().flatten(1).mean(1).cpu().numpy()
    with np.errstate(divide="ignore"):
        found: ByImage = 10 * np.log10(RANGE**2 / errors)
    return found


def ssim_by_image(images: Tensor, others: Tensor) -> ByImage:
    """Return the SSIM of each pair, at most 1, from uint8 pictures [n, C, H, W] of at least `WINDOW` pixels a side."""
    rows, columns = (_window_means(side).to(images.device) for side in images.shape[2:])

    def local(values: Tensor) -> Tensor:
        return rows @ values @ columns.T

    # means, variances and covariance in each window
    x, y = images.double(), others.double()
    mean_x, mean_y = local(x), local(y)
    variances = local(x * x) - mean_x**2 + local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y

    # equation 13 of the paper
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    found: ByImage = (luminance * structure).flatten(1).mean(1).cpu().numpy()
    return found


def _window_means(side: int) -> Tensor:
    """Return the matrix [side - 10, side] that takes Gaussian means of a line at each place of the window."""
    offsets = torch.arange(WINDOW, dtype=torch.float64) - (WINDOW - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    places = side - WINDOW + 1
    matrix = torch.zeros(places, side, dtype=torch.float64)
    for place in range(places):
        matrix[place, place : place + WINDOW] = weights
    return matrix
