"""The U-Net family: shapes, dtypes, the noise label, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from methods.networks.base import DataShape
from methods.networks.unet import UNet, UNetParams


def small(data: DataShape | None = None, **changes: Any) -> UNet:
    torch.manual_seed(0)
    params = {"channels": (8, 16), "norm_groups": 4, "sigma_data": 0.5, **changes}
    return UNet(UNetParams(**params), data or DataShape(1, 8)).eval()


@pytest.mark.parametrize("data", [DataShape(1, 8), DataShape(3, 32)])
@pytest.mark.parametrize("patch", [1, 2])
def test_shape_and_dtype_are_those_of_the_state(data: DataShape, patch: int) -> None:
    network = small(data, patch=patch, attention_levels=(1,), head_channels=8, middle_attention=True)
    for dtype in (torch.float32, torch.float64):
        x = torch.randn(2, data.channels, data.resolution, data.resolution, dtype=dtype)
        denoised = network(x, torch.tensor([0.1, 5.0], dtype=torch.float64))
        assert denoised.shape == x.shape
        assert denoised.dtype == dtype
        assert denoised.isfinite().all()


@torch.no_grad()
def test_noise_label_reaches_the_network_unrounded() -> None:
    network, x = small(time_scale=1000.0), torch.randn(1, 1, 8, 8)
    labels: list[torch.Tensor] = []
    network.inner.time_proj.register_forward_hook(lambda m, inputs, out: labels.append(inputs[0]))
    network(x, torch.tensor([0.3]))
    network(x, torch.tensor([0.3001]))
    torch.testing.assert_close(labels[0], 1000 * torch.tensor([0.3]).log() / 4)
    assert labels[0].dtype == torch.float32
    assert labels[0] != labels[1]


@torch.no_grad()
def test_rows_do_not_see_each_other() -> None:
    network, x, sigma = small(), torch.randn(3, 1, 8, 8), torch.tensor([0.01, 1.0, 50.0])
    together = network(x, sigma)
    alone = torch.cat([network(x[i : i + 1], sigma[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_at_tiny_noise_the_state_is_kept() -> None:
    """c_skip tends to 1 and c_out to 0 as sigma does, whatever the weights."""
    x = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(small()(x, torch.full((2,), 1e-5)), x, atol=1e-4, rtol=0)


def test_loss_is_the_loss_of_its_draws() -> None:
    network, images = small(), torch.rand(4, 1, 8, 8)
    whole = network.loss(images, torch.Generator().manual_seed(3))
    draws = network.draws((4, 1, 8, 8), torch.Generator().manual_seed(3))
    assert whole.item() == network.loss_of(images, draws).item()
    halves = [network.loss_of(images[s], [d[s] for d in draws]) for s in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole)


def test_every_weight_learns() -> None:
    network = small(attention_levels=(1,), head_channels=8)
    network.loss(torch.rand(4, 1, 8, 8), torch.Generator().manual_seed(0)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_refusals() -> None:
    with pytest.raises(ValueError, match="not divisible by 2"):
        small(DataShape(1, 9))
    with pytest.raises(ValidationError, match="no multiples of norm_groups"):
        UNetParams(channels=(8, 9), norm_groups=4, sigma_data=0.5)
    with pytest.raises(ValidationError, match="levels 0 to 1"):
        UNetParams(channels=(8, 8), attention_levels=(2,), sigma_data=0.5)
