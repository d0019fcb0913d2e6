"""DINOv2: a vision transformer whose class token is the features of FD-DINOv2. Its tensors have the authors' names.

Oquab et al. 2023, arXiv:2304.07193; as a distance of generated images Stein et al. 2023, arXiv:2306.04675. Written
anew from the papers and from the names and shapes of the published weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PICTURE_SIDE = 224
"""Pixels a side of the pictures that it sees."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1], by channel: what pixels are normalised with."""
_OFFSET = 0.1
"""What the authors add to the patches a side before they divide: it shifts the interpolated positions."""
_EPSILON = 1e-6


@dataclass(frozen=True)
class VitSize:
    """The sizes of a vision transformer."""

    width: int
    depth: int
    heads: int
    patch: int = 14
    """Pixels a side of a patch."""
    trained_patches: int = 37
    """Patches a side in training, each with a position."""


DINOV2_LARGE = VitSize(width=1024, depth=24, heads=16)


class DinoV2Network(nn.Module):
    """The transformer; `features` returns the class token after the final norm."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.size = size
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + size.trained_patches**2, size.width))
        self.mask_token = nn.Parameter(torch.zeros(1, size.width))  # of the training; it does nothing here
        self.patch_embed = PatchEmbedding(size)
        self.blocks = nn.ModuleList(VitBlock(size) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width, eps=_EPSILON)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return [n, width] of normalised pictures [n, 3, h, w], h and w multiples of a patch."""
        rows, columns = (side // self.size.patch for side in pictures.shape[2:])
        tokens = self.patch_embed(pictures)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)

        tokens = tokens + interpolate_positions(self.pos_embed, self.size.trained_patches, rows, columns)
        for block in self.blocks:
            tokens = block(tokens)
        found: Tensor = self.norm(tokens)[:, 0]
        return found


class PatchEmbedding(nn.Module):
    """Patches of a picture as tokens."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, size.width, size.patch, stride=size.patch)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return tokens [n, patches, width], row by row."""
        found: Tensor = self.proj(pictures)
        return found.flatten(2).transpose(1, 2)


class VitBlock(nn.Module):
    """Attention and an MLP, each normed before and scaled by channel after."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(size.width, eps=_EPSILON) for _ in range(2))
        self.attn = VitAttention(size)
        self.mlp = VitMlp(size)
        self.ls1, self.ls2 = LayerScale(size), LayerScale(size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens [n, tokens, width]."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        found: Tensor = tokens + self.ls2(self.mlp(self.norm2(tokens)))
        return found


class VitAttention(nn.Module):
    """Attention of all tokens to all; the rows of `qkv` are queries, keys, values, each by heads."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.proj = nn.Linear(size.width, size.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens [n, tokens, width]."""
        n, count, width = tokens.shape
        split = self.qkv(tokens).reshape(n, count, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        found: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, count, width))
        return found


class VitMlp(nn.Module):
    """Two layers with the exact GELU between them, four times as wide inside."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.fc1 = nn.Linear(size.width, 4 * size.width)
        self.fc2 = nn.Linear(4 * size.width, size.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens [n, tokens, width]."""
        found: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return found


class LayerScale(nn.Module):
    """A learnt factor of each channel."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(size.width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens [n, tokens, width]."""
        return tokens * self.gamma


def interpolate_positions(positions: Tensor, trained: int, rows: int, columns: int) -> Tensor:
    """Return positions [1, 1 + rows x columns, width] of those learnt for trained x trained patches.

    Bicubic without antialias. As the authors do, by the scale (rows + 0.1) / trained, not by the size alone: the same
    shape, but other values.
    """
    first, patches = positions[:, :1], positions[:, 1:]
    if rows == columns == trained:
        return positions
    grid = patches.reshape(1, trained, trained, -1).permute(0, 3, 1, 2)
    scale = ((rows + _OFFSET) / trained, (columns + _OFFSET) / trained)
    found = F.interpolate(grid, scale_factor=scale, mode="bicubic", antialias=False)
    return torch.cat([first, found.flatten(2).transpose(1, 2)], dim=1)


def prepare_pictures(images: Tensor, side: int = PICTURE_SIDE) -> Tensor:
    """Return normalised pictures float32 [n, 3, side, side] of uint8 images [n, 3, h, w].

    Resized as numbers, bicubic with antialias, neither rounded nor clamped: torch's and torchvision's resize of float
    pictures, which EDM2 uses too. On rounded pictures, as with PIL, the distance is another.
    """
    resized = F.interpolate(images.float(), size=(side, side), mode="bicubic", antialias=True)
    mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (_MEAN, _STD))
    return (resized / 255 - mean) / std
