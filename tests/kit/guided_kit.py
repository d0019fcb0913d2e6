"""A plain ADM U-Net in the layout of guided-diffusion, for tests: their names, both orders of attention."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, silu


class GuidedBlock(nn.Module):
    """Residual block with scale and shift; `way` resamples."""

    def __init__(self, channels: int, embedding: int, out: int, way: str = "") -> None:
        super().__init__()
        self.way = way
        self.in_layers = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, out), nn.SiLU(), nn.Dropout(0), nn.Conv2d(out, out, 3, padding=1)
        )
        self.skip_connection = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def resample(self, x: Tensor) -> Tensor:
        if self.way == "down":
            return avg_pool2d(x, 2)
        return interpolate(x, scale_factor=2, mode="nearest") if self.way == "up" else x

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.in_layers[2](self.resample(self.in_layers[:2](x)))
        scale, shift = self.emb_layers(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        return self.skip_connection(self.resample(x)) + h


class GuidedAttention(nn.Module):
    """Attention over pixels in heads of 64 channels."""

    def __init__(self, channels: int, new_order: bool) -> None:
        super().__init__()
        self.heads, self.new_order = channels // 64, new_order
        self.norm, self.qkv = nn.GroupNorm(32, channels), nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        rows, channels, height, width = x.shape
        flat = x.reshape(rows, channels, -1)
        mixed = self.qkv(self.norm(flat))
        if self.new_order:
            q, k, v = (part.reshape(rows * self.heads, 64, -1) for part in mixed.chunk(3, dim=1))
        else:
            q, k, v = mixed.reshape(rows * self.heads, 192, -1).split(64, dim=1)
        shares = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(64), dim=-1)
        attended = torch.einsum("bts,bcs->bct", shares, v).reshape(rows, channels, -1)
        return (flat + self.proj_out(attended)).reshape(rows, channels, height, width)


class GuidedUNet(nn.Module):
    """The network of flags `num_channels`, `channel_mult`, `num_res_blocks`, `attention_resolutions`, `image_size`."""

    def __init__(self, flags: dict[str, Any], classes: int = 0, outputs: int = 6) -> None:
        super().__init__()
        width, mult, blocks = flags["num_channels"], flags["channel_mult"], flags["num_res_blocks"]
        order, embedding, side = flags["use_new_attention_order"], 4 * flags["num_channels"], flags["image_size"]
        self.width = width
        self.time_embed = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        if classes:
            self.label_emb = nn.Embedding(classes, embedding)

        # encoder
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(3, width, 3, padding=1)])])
        channels, kept = width, [width]
        for level, multiple in enumerate(mult):
            for _ in range(blocks):
                layers: list[nn.Module] = [GuidedBlock(channels, embedding, multiple * width)]
                channels = multiple * width
                if side in flags["attention_resolutions"]:
                    layers.append(GuidedAttention(channels, order))
                self.input_blocks.append(nn.ModuleList(layers))
                kept.append(channels)
            if level < len(mult) - 1:
                self.input_blocks.append(nn.ModuleList([GuidedBlock(channels, embedding, channels, "down")]))
                kept.append(channels)
                side //= 2

        # middle and decoder
        self.middle_block = nn.ModuleList(
            [
                GuidedBlock(channels, embedding, channels),
                GuidedAttention(channels, order),
                GuidedBlock(channels, embedding, channels),
            ]
        )
        self.output_blocks = nn.ModuleList()
        for level, multiple in reversed(list(enumerate(mult))):
            for i in range(blocks + 1):
                layers = [GuidedBlock(channels + kept.pop(), embedding, multiple * width)]
                channels = multiple * width
                if side in flags["attention_resolutions"]:
                    layers.append(GuidedAttention(channels, order))
                if level and i == blocks:
                    layers.append(GuidedBlock(channels, embedding, channels, "up"))
                    side *= 2
                self.output_blocks.append(nn.ModuleList(layers))
        self.out = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, outputs, 3, padding=1))

    def forward(self, x: Tensor, label: Tensor, classes: Tensor | None = None) -> Tensor:
        half = self.width // 2
        rates = torch.tensor([1 / 10000]) ** (torch.arange(half, dtype=torch.float32) / half)
        angles = label[:, None] * rates.to(label.dtype)
        embedding = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        if classes is not None:
            embedding = embedding + self.label_emb(classes)

        kept: list[Tensor] = []
        for layers in self.input_blocks:
            for layer in layers:  # type: ignore[attr-defined]
                x = layer(x) if isinstance(layer, nn.Conv2d) else layer(x, embedding)
            kept.append(x)
        for layer in self.middle_block:
            x = layer(x, embedding)
        for layers in self.output_blocks:
            x = torch.cat([x, kept.pop()], dim=1)
            for layer in layers:  # type: ignore[attr-defined]
                x = layer(x, embedding)
        return self.out[2](silu(self.out[0](x)))
