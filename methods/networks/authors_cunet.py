"""Blocks of the first author's public code, which differ from the paper's.

They reproduce its published counts.

github.com/Sergio20f/cDDPM at its last commit (July 2023), of The Missing U (arXiv:2310.20092). The
ODE is Y' = Y + F(Y), of first order, with instance norms and softplus. The state has no position
and velocity, attention has no residual, and nothing reads the noise level. The table of sinusoids
is counted among the published parameters, so it is kept here, frozen. None of it is recommended.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from methods.networks.ode_blocks import Integrate
from methods.networks.transformer import sinusoids


class AuthorsBlock(nn.Module):
    """Y' = Y + softplus(conv(IN(softplus(conv(IN(Y)))))), blind to the noise level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.InstanceNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.InstanceNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, state: Tensor, embedding: Tensor | None, integrate: Integrate) -> tuple[Tensor, int]:
        """Return the state at tau = 1 and the evaluations, from the state at 0 [batch, channels, height, width]."""
        return integrate(lambda tau, y: self.evaluate(y), state, None)

    def evaluate(self, state: Tensor) -> Tensor:
        """Return Y' of a state, in the state's shape."""
        h = softplus(self.conv1(self.norm1(state)))
        return state + softplus(self.conv2(self.norm2(h)))


class AuthorsState(nn.Module):
    """The authors' initial velocity, here the whole state."""

    def __init__(self, image_channels: int, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.InstanceNorm2d(image_channels)
        self.conv1 = nn.Conv2d(image_channels, channels // 2, 3, padding=1)
        self.norm2 = nn.InstanceNorm2d(channels // 2)
        self.conv2 = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return states [batch, channels, height, width] of images [batch, image_channels, height, width]."""
        return softplus(self.conv2(self.norm2(softplus(self.conv1(self.norm1(images))))))


class UnreadTime(nn.Module):
    """The authors' frozen table of 1000 sinusoids, which is never looked up."""

    def __init__(self, time_channels: int) -> None:
        super().__init__()
        table = sinusoids(torch.arange(1000).float(), time_channels)
        self.table = nn.Embedding.from_pretrained(table, freeze=True)

    def forward(self, label: Tensor) -> None:
        """Ignore labels [batch] and return None."""
        return None
