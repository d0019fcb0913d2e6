"""Sandwich training: what each step runs and draws, and that it trains every width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.config.network_card import load_network_card
from harness.data.cards import load_card
from harness.data.splits import load_split
from harness.measure.flops import training_flops
from harness.sampling.network import build_network
from harness.sampling.pixels import to_unit
from harness.specs.train import TrainSettings
from harness.training.network_training import network_trainer
from methods.networks.base import DataShape
from methods.networks.drawn_loss import DrawnLoss
from methods.networks.preconditioning import Draws
from methods.networks.slimmable_unet import SlimmableUNet, SlimmableUNetParams
from methods.networks.unet import UNet, UNetParams

SHAPE = (4, 1, 8, 8)
IMAGES = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def slim(**changes: Any) -> SlimmableUNet:
    torch.manual_seed(0)
    params = {"channels": (8, 16), "norm_groups": 2, "round_to": 2, **changes}
    return SlimmableUNet(SlimmableUNetParams(**params), DataShape(1, 8))


def drawn(network: SlimmableUNet, seed: int = 0) -> Sequence[Tensor]:
    return network.draws(SHAPE, torch.Generator().manual_seed(seed))


def loss_at(network: SlimmableUNet, images: Tensor, width: float, sigma: Tensor, noise: Tensor) -> Tensor:
    """Return one width's loss, from the network that it is."""
    inner = network.narrow(width) if not torch.is_grad_enabled() else lambda s, label: network.raw(s, label, width)
    return network.preconditioning.loss(inner, images, Draws(sigma, noise), network.dtype)


def gradients(network: SlimmableUNet, loss: Tensor) -> list[Tensor]:
    network.zero_grad()
    loss.backward()
    return [p.grad.clone() if p.grad is not None else torch.zeros_like(p) for p in network.parameters()]


def test_a_step_draws_levels_and_noise_for_each_width_and_one_middle_width() -> None:
    network = slim()
    assert isinstance(network, DrawnLoss)
    middles = []
    for seed in range(60):
        *rest, middle = drawn(network, seed)
        assert [tuple(draw.shape) for draw in rest] == [(4,), SHAPE] * 3
        assert all(draw.dtype == torch.float32 for draw in rest)
        assert len({float(draw.flatten()[0]) for draw in rest}) == 6
        assert middle.shape == (4,)
        assert len(set(middle.tolist())) == 1  # the same for all rows of the global batch
        middles.append(int(middle[0]))
    assert set(middles) == {1, 2}
    assert 15 < middles.count(1) < 45
    assert all(torch.equal(a, b) for a, b in zip(drawn(network, 7), drawn(network, 7), strict=True))


@torch.no_grad()
def test_loss_is_the_sum_over_full_narrowest_and_middle() -> None:
    network = slim().eval()
    for seed in range(4):
        draws = drawn(network, seed)
        widths = (1.0, 0.25, network.params.widths[int(draws[-1][0])])
        parts = [loss_at(network, IMAGES, width, *draws[2 * i : 2 * i + 2]) for i, width in enumerate(widths)]
        assert network.loss_of(IMAGES, draws) == (parts[0] + parts[1]) + parts[2]
        assert network.loss(IMAGES, torch.Generator().manual_seed(seed)) == network.loss_of(IMAGES, draws)


@pytest.mark.parametrize("size", [{}, {"attention_levels": (1,), "middle_attention": True, "dropout": 0.0}])
def test_gradient_is_the_sum_of_three(size: dict[str, Any]) -> None:
    network, images = slim(**size).double(), IMAGES.double()
    draws = [draw.double() for draw in drawn(network)]
    together = gradients(network, network.loss_of(images, draws))
    widths = (1.0, 0.25, network.params.widths[int(draws[-1][0])])
    apart = [
        gradients(network, loss_at(network, images, width, *draws[2 * i : 2 * i + 2])) for i, width in enumerate(widths)
    ]
    for total, *parts in zip(together, *apart, strict=True):
        torch.testing.assert_close(total, parts[0] + parts[1] + parts[2], atol=1e-12, rtol=0)
    assert sum(float(total.abs().sum()) for total in together) > 1


def test_two_widths_have_no_middle_one() -> None:
    network = slim(widths=(1.0, 0.5)).eval()
    draws = drawn(network)
    assert [tuple(draw.shape) for draw in draws] == [(4,), SHAPE] * 2
    with torch.no_grad():
        parts = [loss_at(network, IMAGES, 1.0, *draws[:2]), loss_at(network, IMAGES, 0.5, *draws[2:])]
        assert network.loss_of(IMAGES, draws) == parts[0] + parts[1]


def test_three_widths_always_run() -> None:
    network = slim(widths=(1.0, 0.75, 0.25))
    assert {int(drawn(network, seed)[-1][0]) for seed in range(8)} == {1}


def test_one_width_trains_as_an_ordinary_network() -> None:
    network = slim(widths=(1.0,))
    ordinary = UNet(UNetParams(channels=(8, 16), norm_groups=2), DataShape(1, 8))
    ordinary.load_state_dict(network.state_dict())
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    losses = [net.loss(IMAGES, generator) for net, generator in zip((network, ordinary), generators, strict=True)]
    assert losses[0].item() == losses[1].item()


def test_processes_share_a_step() -> None:
    """The mean over halves of the batch is the loss of the whole."""
    network = slim()
    draws = drawn(network)
    halves = [network.loss_of(IMAGES[s], [draw[s] for draw in draws]) for s in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, network.loss_of(IMAGES, draws))


def test_counted_work_of_a_step_is_that_of_its_widths() -> None:
    network = slim()
    whole = training_flops(network, IMAGES, torch.Generator().manual_seed(0))
    widths = (1.0, 0.25, network.params.widths[int(drawn(network)[-1][0])])
    alone = 0
    for width in widths:
        part = slim(widths=(1.0,), channels=network.channels_at(width))
        alone += training_flops(part, IMAGES, torch.Generator().manual_seed(0))
    sinusoids = sum(2 * 2 * len(IMAGES) * (8 - 8 * width) * 32 * width for width in widths)  # forward, weight gradient
    assert whole == alone + sinusoids


def test_autocast_reaches_every_width() -> None:
    network = slim(attention_levels=(1,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network.loss_of(IMAGES, drawn(network))
    exact = network.loss_of(IMAGES, drawn(network))
    assert 0 < abs(loss.item() - exact.item()) < 0.05 * exact.item()
    assert all(gradient.isfinite().all() for gradient in gradients(network, loss))


@pytest.mark.slow
def test_after_training_a_wider_network_is_a_better_one_and_width_matters_most_near_the_data() -> None:
    card = load_network_card("slim-8")
    split = load_split(load_card("digits"), "train")
    images = torch.from_numpy(split.images.copy())
    torch.manual_seed(0)
    network = build_network(card, DataShape(1, 8))
    trainer = network_trainer(
        network,
        images,
        TrainSettings(**{**card.train.model_dump(), "steps": 200, "batch": 64, "ema_half_life_images": 1500}),
    )
    try:
        trainer.advance(200)
        weights = trainer.weights()
    finally:
        trainer.close()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    assert isinstance(network.eval(), SlimmableUNet)
    clean = to_unit(split.images)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        losses = [
            [
                float(loss_at(network, clean, width, torch.full((len(clean),), sigma), noise))
                for width in network.params.widths
            ]
            for sigma in (0.1, 0.5, 2.0, 10.0)
        ]
    assert all(row == sorted(row) for row in losses)
    excess = [row[-1] / row[0] - 1 for row in losses]
    assert excess[1] > 0.1
    assert excess[1] > 1.5 * excess[-1] > 0
