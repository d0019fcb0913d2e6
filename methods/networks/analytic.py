"""Family "analytic": the exact denoiser of data that are a mixture of isotropic Gaussians."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from methods.networks.base import DataShape, Network, NetworkParams


class Analytic(Network):
    """Posterior mean E[y | y + sigma n = x] for y ~ sum_k w_k N(m_k, c_k^2 I), in closed form.

    Nothing is trained.

    Facts of the data set: `means` [k][dim], `stds` c [k] and `weights` w [k] (normalised here),
    with dim = channels * resolution^2 in the order of the image's memory.
    """

    family = "analytic"
    summary = "exact denoiser of a mixture of isotropic Gaussians"
    trainable: ClassVar[bool] = False
    means: Tensor
    variances: Tensor
    log_weights: Tensor
    ones: Tensor

    def __init__(self, params: NetworkParams, data: DataShape) -> None:
        super().__init__(params, data)

        # the mixture
        missing = [key for key in ("means", "stds", "weights") if key not in data.facts]
        if missing:
            raise ValueError(f'network family "analytic" needs a data set with the facts {", ".join(missing)}')
        means, stds, weights = (
            torch.tensor(data.facts[key], dtype=torch.float64) for key in ("means", "stds", "weights")
        )

        # checks
        dim = data.channels * data.resolution**2
        if means.shape != (len(stds), dim) or weights.shape != stds.shape:
            raise ValueError(
                f"means, stds and weights must have the shapes [k][{dim}], [k] and [k], "
                f"but have {list(means.shape)}, {list(stds.shape)} and {list(weights.shape)}"
            )
        if not (stds > 0).all() or not (weights > 0).all():
            raise ValueError("every standard deviation and every weight of the mixture must be positive")

        # buffers, so that they move with the module
        self.register_buffer("means", means)
        self.register_buffer("variances", stds**2)
        self.register_buffer("log_weights", weights.log() - weights.sum().log())
        self.register_buffer("ones", torch.ones(dim, 1, dtype=torch.float64))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return D(x; sigma) in x's type.

        Distances are sums of squared differences, without cancellation.
        """
        flat = x.flatten(1)
        means, variances = self.means.to(flat), self.variances.to(flat)
        noise = sigma.to(flat, non_blocking=True).square()[:, None]

        # responsibility of each component for x
        total = variances + noise  # variance of x under each component [batch, k]
        difference = flat[:, None] - means  # [batch, k, dim]
        distance = (difference.square().flatten(0, 1) @ self.ones.to(flat)).view_as(total)
        log_joint = self.log_weights.to(flat) - distance / (2 * total) - flat.shape[1] / 2 * total.log()
        responsibility = log_joint.softmax(1)

        # posterior mean
        shrink = noise / total  # how far x moves towards a component's mean
        pull = responsibility * shrink
        clean = (responsibility * (variances / total)).sum(1, keepdim=True) * flat + pull @ means
        return clean.view_as(x)

    def flow(self, x: Tensor, sigma_from: float, sigma_to: float) -> Tensor | None:
        """Return the exact flow, straight towards the mean, where the data are one Gaussian, else None."""
        if len(self.means) > 1:
            return None
        mean, variance = self.means[0].to(x).view_as(x[0]), float(self.variances[0])
        return mean + (x - mean) * math.sqrt((variance + sigma_to**2) / (variance + sigma_from**2))
