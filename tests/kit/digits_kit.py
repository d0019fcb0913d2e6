"""The digits and the zoo's networks for them, without an engine: what a suite's preparation is given."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from harness.config.network_card import load_network_card
from harness.data.cards import load_card
from harness.planning.zoo_networks import read_weights
from harness.sampling.network import build_network
from kit.toy_context import ToyContext
from methods.networks.base import Network
from methods.networks.unet import UNet, UNetParams

CARD = load_card("digits")


def zoo_network(name: str) -> Network:
    """Return a network of the zoo in eval mode, frozen, float32."""
    network = build_network(load_network_card(name), CARD.shape())
    network.load_state_dict({key: value.float() for key, value in read_weights(name).items()})
    return network.eval().requires_grad_(False)


def training_images() -> Tensor:
    """Return the 1500 training images, as the card's pixels: bytes, mapped to [-1, 1]."""
    pixels = np.round(load_digits().images[:1500] / 16 * 255)
    return torch.from_numpy(pixels).float()[:, None] / 127.5 - 1


def context(network: Network, steps: int = 10) -> ToyContext:
    """Return what a preparation on the digits is given, at the card's ends."""
    return ToyContext(network, sigma_min=CARD.sigma_min, sigma_max=CARD.sigma_max, steps=steps, clean=training_images())


def briefly_trained() -> tuple[UNet, Tensor]:
    """Return a small U-Net after 100 steps on the digits, in eval mode and frozen, and these [1797, 1, 8, 8]."""
    torch.manual_seed(0)
    net = UNet(UNetParams(channels=(16,), patch=2, middle=False, sigma_data=0.75, time_scale=1000.0), CARD.shape())
    generator, clean = torch.Generator().manual_seed(0), torch.tensor(load_digits().images).float()[:, None] / 8 - 1
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)
    for _ in range(100):
        optimizer.zero_grad()
        net.loss(clean[torch.randint(len(clean), (64,), generator=generator)], generator).backward()
        optimizer.step()
    return net.eval().requires_grad_(False), clean
