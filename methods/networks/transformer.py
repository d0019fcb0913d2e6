"""Modules of U-ViT and DiT; parameter names are those of the public checkpoints."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sinusoids(label: Tensor, width: int) -> Tensor:
    """Return cosines and sines [batch, width] of labels [batch], with periods from 2 pi to 20000 pi."""
    half = width // 2
    rates = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=label.device) / half)
    angles = label[:, None].float() * rates
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    return nn.functional.pad(waves, (0, width % 2)).to(label.dtype)


def unpatchify(tokens: Tensor, side: int, patch: int, channels: int) -> Tensor:
    """Return images [batch, channels, height, width] from tokens [batch, side², patch² channels], channels innermost.

    The side is given: a compiled call for all shapes could not take the root of a number of tokens.
    """
    pixels = tokens.unflatten(1, (side, side)).unflatten(3, (patch, patch, channels))
    return pixels.permute(0, 5, 1, 3, 2, 4).reshape(len(tokens), channels, side * patch, side * patch)


class PatchEmbed(nn.Module):
    """One token [width] per patch of pixels: images [batch, channels, height, width] to [batch, n, width]."""

    def __init__(self, patch: int, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention over tokens [batch, n, width]."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = self.qkv(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with a GELU between, token by token."""

    def __init__(self, width: int, ratio: float, approximate: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, int(width * ratio))
        self.act = nn.GELU(approximate)
        self.fc2 = nn.Linear(int(width * ratio), width)

    def forward(self, h: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(h)))
