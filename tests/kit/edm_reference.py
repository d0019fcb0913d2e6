"""A second formulation of EDM's U-Nets, for tests: functions of a state dict, as plain as possible, in float64.

It shares no code with the networks. `traps` names readings that fit all shapes and are wrong; each changes one thing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, silu

State = Mapping[str, Tensor]


def group_means(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Return a group norm, from the mean and variance of each group written out."""
    channels = x.shape[1]
    groups = min(32, channels // 4)
    parts = []
    for part in x.split(channels // groups, dim=1):
        mean = part.mean(dim=(1, 2, 3), keepdim=True)
        variance = ((part - mean) ** 2).mean(dim=(1, 2, 3), keepdim=True)
        parts.append((part - mean) / (variance + eps).sqrt())
    return torch.cat(parts, dim=1) * weight[:, None, None] + bias[:, None, None]


def halve(x: Tensor, taps: list[float], margin: int) -> Tensor:
    """Return x filtered at every second place: a sum of shifted pictures."""
    total = sum(taps)
    size = (x.shape[-1] + 2 * margin - len(taps)) // 2 + 1
    wide = torch.nn.functional.pad(x, [margin] * 4)
    out = x.new_zeros(*x.shape[:2], size, size)
    for i, a in enumerate(taps):
        for j, b in enumerate(taps):
            rows, columns = slice(i, i + 2 * size - 1, 2), slice(j, j + 2 * size - 1, 2)
            out = out + a * b / total**2 * wide[:, :, rows, columns]
    return out


def double_size(x: Tensor, taps: list[float]) -> Tensor:
    """Return x at twice its size: each pixel spreads by four times the filter."""
    margin, total, side = (len(taps) - 1) // 2, sum(taps), x.shape[-1]
    wide = x.new_zeros(*x.shape[:2], 2 * side + len(taps), 2 * side + len(taps))
    for i, a in enumerate(taps):
        for j, b in enumerate(taps):
            wide[:, :, i : i + 2 * side : 2, j : j + 2 * side : 2] += 4 * a * b / total**2 * x
    return wide[:, :, margin : margin + 2 * side, margin : margin + 2 * side]


def attend(mixed: Tensor, heads: int, traps: frozenset[str]) -> Tensor:
    """Return attention over pixels, head by head; q, k, v of a channel are neighbours."""
    rows, triple, height, width = mixed.shape
    channels = triple // 3
    each, flat, parts = channels // heads, mixed.flatten(2), []
    for head in range(heads):
        own = range(head * each, (head + 1) * each)
        if "qkv in blocks" in traps:
            q, k, v = (flat[:, [which * channels + c for c in own]] for which in range(3))
        elif "qkv in blocks per head" in traps:
            q, k, v = (flat[:, [3 * head * each + which * each + c for c in range(each)]] for which in range(3))
        else:
            q, k, v = (flat[:, [3 * c + which for c in own]] for which in range(3))
        scale = math.sqrt(channels if "scale of all heads" in traps else each)
        logits = torch.einsum("rcq,rck->rqk", q, k) / scale
        shares = logits.exp() / logits.exp().sum(dim=2, keepdim=True)
        parts.append(torch.einsum("rqk,rck->rcq", shares, v))
    return torch.cat(parts, dim=1).reshape(rows, channels, height, width)


class Reference:
    """The forward pass of a state; `adm` chooses the architecture, `config` has the published options."""

    def __init__(self, state: State, config: Mapping[str, Any], adm: bool, traps: tuple[str, ...] = ()) -> None:
        self.state = {name: value.double() for name, value in state.items()}
        self.config, self.adm, self.traps = config, adm, frozenset(traps)
        self.taps = [float(tap) for tap in config.get("resample_filter", (1, 1))]
        self.eps = 1e-5 if adm != ("other eps" in traps) else 1e-6

    def weights(self, name: str) -> tuple[Tensor, Tensor]:
        return self.state[f"{name}.weight"], self.state[f"{name}.bias"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        found = x @ self.state[f"{name}.weight"].T
        return found + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else found

    def conv(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.weights(name)
        return conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    def norm(self, name: str, x: Tensor) -> Tensor:
        return group_means(x, *self.weights(name), self.eps)

    def resampled(self, x: Tensor, way: str) -> Tensor:
        taps = [1.0, 1.0] if "box filter" in self.traps else self.taps
        if way == "down":
            return halve(x, taps, (len(taps) - 1) // 2)
        return double_size(x, taps) if way == "up" else x

    def block(self, name: str, x: Tensor, embedding: Tensor, way: str = "") -> Tensor:
        h = silu(self.norm(f"{name}.norm0", x))
        if "resampling last" in self.traps:
            h = self.resampled(self.conv(f"{name}.conv0", h), way)
        else:
            h = self.conv(f"{name}.conv0", self.resampled(h, way))
        condition = self.linear(f"{name}.affine", embedding)[:, :, None, None]
        if self.adm:
            half = condition.shape[1] // 2
            first, second = condition[:, :half], condition[:, half:]
            scale, shift = (second, first) if "shift first" in self.traps else (first, second)
            h = silu(self.norm(f"{name}.norm1", h) * (1 + scale) + shift)
        elif "embedding after the norm" in self.traps:
            h = silu(self.norm(f"{name}.norm1", h) + condition)
        else:
            h = silu(self.norm(f"{name}.norm1", h + condition))

        shortcut = self.resampled(x, way)
        if f"{name}.skip.weight" in self.state:
            shortcut = self.conv(f"{name}.skip", shortcut)
        factor = 1.0 if self.adm != ("other skip scale" in self.traps) else math.sqrt(0.5)
        x = (shortcut + self.conv(f"{name}.conv1", h)) * factor
        if f"{name}.qkv.weight" not in self.state:
            return x
        heads = x.shape[1] // 64 if self.adm else 1
        heads = 2 * heads if "more heads" in self.traps else heads
        attended = attend(self.conv(f"{name}.qkv", self.norm(f"{name}.norm2", x)), heads, self.traps)
        x = x + self.conv(f"{name}.proj", attended)
        return x if "skip scale once" in self.traps else x * factor

    def noise(self, label: Tensor) -> Tensor:
        if "map_noise.freqs" in self.state:
            rates = self.state["map_noise.freqs"] * (1 if "frequencies without 2 pi" in self.traps else 2 * math.pi)
        else:
            width = self.config["model_channels"] * self.config.get("channel_mult_noise", 1)
            last = width // 2 - (self.adm == ("other endpoint" in self.traps))
            rates = torch.tensor([1 / 10000]) ** (torch.arange(width // 2, dtype=torch.float32) / last)
        angles = label.double()[:, None] * rates.double()
        sine_first = self.adm == ("other half first" in self.traps)
        return torch.cat([angles.sin(), angles.cos()] if sine_first else [angles.cos(), angles.sin()], dim=1)

    def embedding(self, label: Tensor, hot: Tensor | None) -> Tensor:
        h = self.noise(label)
        if self.adm:
            h = self.linear("map_layer0", h)
            if hot is not None and "class before the second layer" in self.traps:
                h = h + self.linear("map_label", hot)
            h = self.linear("map_layer1", silu(h))
            if hot is not None and "class before the second layer" not in self.traps:
                h = h + self.linear("map_label", hot)
            return silu(h)
        if hot is not None:
            count = 1 if "class not scaled" in self.traps else hot.shape[1]
            added = self.linear("map_label", hot * math.sqrt(count))
            nothing = "no class leaves the bias out" in self.traps
            h = h + (added * (hot.sum(dim=1, keepdim=True) > 0) if nothing else added)
        return silu(self.linear("map_layer1", silu(self.linear("map_layer0", h))))

    def encoder(self, x: Tensor, embedding: Tensor) -> list[Tensor]:
        """Return what the decoder reads, the last first used; the last is also its start."""
        side, skips, auxiliary = self.config["img_resolution"], [], x
        for level in range(len(self.config["channel_mult"])):
            here = f"enc.{side >> level}x{side >> level}"
            x = self.block(f"{here}_down", x, embedding, "down") if level else self.conv(f"{here}_conv", x)
            if f"{here}_aux_residual.weight" in self.state:
                weight, bias = self.weights(f"{here}_aux_residual")
                margin = (len(self.taps) - 1) // 2
                if "auxiliary filters first" in self.traps:
                    shown = self.conv(f"{here}_aux_residual", self.resampled(auxiliary, "down"))
                else:
                    shown = halve(conv2d(auxiliary, weight, padding=1 + margin), self.taps, 0) + bias[:, None, None]
                before, x = x, (x + shown) / math.sqrt(2)
                auxiliary = shown if "auxiliary goes on alone" in self.traps else x
                skips.append(before if "skip before the auxiliary" in self.traps else x)
            else:
                skips.append(x)
            for i in range(self.config["num_blocks"]):
                x = self.block(f"{here}_block{i}", x, embedding)
                skips.append(x)
        return skips

    def __call__(self, x: Tensor, label: Tensor, hot: Tensor | None = None) -> Tensor:
        """Return F for pictures [rows, channels, side, side], labels [rows] and one-hot classes or None."""
        embedding = self.embedding(label, hot)
        skips = self.encoder(x.double(), embedding)
        side, levels = self.config["img_resolution"], len(self.config["channel_mult"])
        x = skips[-1]
        for level in reversed(range(levels)):
            here = f"dec.{side >> level}x{side >> level}"
            if level == levels - 1:
                x = self.block(f"{here}_in1", self.block(f"{here}_in0", x, embedding), embedding)
            else:
                x = self.block(f"{here}_up", x, embedding, "up")
            for i in range(self.config["num_blocks"] + 1):
                x = self.block(f"{here}_block{i}", torch.cat([x, skips.pop()], dim=1), embedding)
        names = ("out_norm", "out_conv") if self.adm else (f"{here}_aux_norm", f"{here}_aux_conv")
        return self.conv(names[1], silu(self.norm(names[0], x)))
