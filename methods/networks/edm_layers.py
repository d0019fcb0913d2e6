"""Layers of the U-Nets of Karras et al. 2022 (arXiv:2206.00364): resampling convolutions, blocks, noise embeddings.

Written from the published facts of both architectures. DDPM++ and NCSN++ are of Song et al. 2021
(arXiv:2011.13456); ADM is of Dhariwal & Nichol 2021 (arXiv:2105.05233). Parameter names are those
of the published states. Frequencies and filters are float32, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, dropout, scaled_dot_product_attention, silu

_MOST_GROUPS, _LEAST_GROUP = 32, 4


@dataclass(frozen=True)
class BlockStyle:
    """What the blocks of one architecture share.

    `channels_per_head` None is one head over all channels. `scale_shift` modulates the second norm
    by (1 + scale, shift), and otherwise the embedding is added before it. `projects_skip` gives the
    shortcut of a resampling block a 1x1 convolution.
    """

    embedding: int
    eps: float
    skip_scale: float
    channels_per_head: int | None
    scale_shift: bool
    projects_skip: bool
    resample_filter: tuple[float, ...] = (1.0, 1.0)
    dropout: float = 0.0


class ResamplingConv(nn.Module):
    """Convolution of an odd kernel at the same size, after a resampling by 2 if there is one.

    Kernel 0 resamples alone. `convolves_first` is for downsampling: the convolution pads for the
    filter too, which then strides.
    """

    resample_filter: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        resampled: str = "",
        resample_filter: Sequence[float] = (1.0, 1.0),
        convolves_first: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.up, self.down, self.fused_resample = resampled == "up", resampled == "down", convolves_first

        # weights, initialised as torch's own convolution
        made = nn.Conv2d(in_channels, out_channels, kernel) if kernel else None
        self.weight = made.weight if made else None
        self.bias = made.bias if made else None
        self.register_buffer("resample_filter", _square_filter(resample_filter) if resampled else None)

    def forward(self, x: Tensor) -> Tensor:
        margin = 0 if self.weight is None else self.weight.shape[-1] // 2
        if self.fused_resample and self.weight is not None and self.resample_filter is not None:
            wide = conv2d(x, self.weight, padding=margin + (self.resample_filter.shape[-1] - 1) // 2)
            each = _per_channel(self.resample_filter, wide)
            assert self.bias is not None
            return conv2d(wide, each, stride=2, groups=wide.shape[1]) + self.bias[:, None, None]

        x = self._resample(x)
        return x if self.weight is None else conv2d(x, self.weight, self.bias, padding=margin)

    def _resample(self, x: Tensor) -> Tensor:
        """Return x filtered at half or twice its size; the filter of ones is a mean of 2x2, or repeats pixels."""
        if self.resample_filter is None:
            return x
        each, padding = _per_channel(self.resample_filter, x), (self.resample_filter.shape[-1] - 1) // 2
        if self.up:
            return conv_transpose2d(x, 4 * each, stride=2, padding=padding, groups=x.shape[1])
        return conv2d(x, each, stride=2, padding=padding, groups=x.shape[1])


class EdmBlock(nn.Module):
    """Residual block of two convolutions with a noise embedding, then attention if it has any."""

    def __init__(
        self, in_channels: int, out_channels: int, style: BlockStyle, resampled: str = "", attends: bool = False
    ) -> None:
        super().__init__()
        self.style, self.in_channels, self.out_channels = style, in_channels, out_channels
        self.skip_scale, self.adaptive_scale = style.skip_scale, style.scale_shift
        heads = 1 if style.channels_per_head is None else out_channels // style.channels_per_head
        self.num_heads = heads if attends else 0
        filtered = (resampled, style.resample_filter)

        # residual branch
        self.norm0 = group_norm(in_channels, style.eps)
        self.conv0 = ResamplingConv(in_channels, out_channels, 3, *filtered)
        self.affine = nn.Linear(style.embedding, out_channels * (2 if style.scale_shift else 1))
        self.norm1 = group_norm(out_channels, style.eps)
        self.conv1 = ResamplingConv(out_channels, out_channels, 3)

        # shortcut
        self.skip = None
        if in_channels != out_channels or resampled:
            kernel = 1 if style.projects_skip or in_channels != out_channels else 0
            self.skip = ResamplingConv(in_channels, out_channels, kernel, *filtered)

        # attention
        if attends:
            if not heads or out_channels % heads:
                raise ValueError(f"{out_channels} channels attend; expected a multiple of {style.channels_per_head}")
            self.norm2 = group_norm(out_channels, style.eps)
            self.qkv = ResamplingConv(out_channels, 3 * out_channels, 1)
            self.proj = ResamplingConv(out_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        # residual branch, modulated by the noise embedding
        h = self.conv0(silu(self.norm0(x)))
        condition = self.affine(embedding)[:, :, None, None]
        if self.adaptive_scale:
            scale, shift = condition.chunk(2, dim=1)
            h = silu(self.norm1(h) * (1 + scale) + shift)
        else:
            h = silu(self.norm1(h + condition))
        h = self.conv1(dropout(h, self.style.dropout, self.training))

        # shortcut and attention
        x = (h + (x if self.skip is None else self.skip(x))) * self.skip_scale
        return (x + self.proj(self._attention(self.qkv(self.norm2(x))))) * self.skip_scale if self.num_heads else x

    def _attention(self, mixed: Tensor) -> Tensor:
        """Return attention over pixels; channels of `mixed` run (head, channel, q k v), the last fastest."""
        rows, _, height, width = mixed.shape
        split = mixed.reshape(rows, self.num_heads, -1, 3, height * width).transpose(2, 4)
        q, k, v = (split[:, :, :, which].contiguous() for which in range(3))  # [rows, heads, pixels, channels]
        attended = scaled_dot_product_attention(q, k, v)
        return attended.transpose(2, 3).reshape(rows, self.out_channels, height, width)


class SineNoise(nn.Module):
    """Sinusoids of the noise label, [sin | cos] or [cos | sin], of frequencies 10000^(-i / n).

    n is half the width, or one less where the slowest frequency is exactly 1/10000.
    """

    max_positions = 10000

    def __init__(self, width: int, endpoint: bool, sine_first: bool) -> None:
        super().__init__()
        self.num_channels, self.endpoint, self.sine_first = width, endpoint, sine_first

    def forward(self, label: Tensor) -> Tensor:
        half = self.num_channels // 2
        steps = torch.arange(half, dtype=torch.float32, device=label.device) / (half - self.endpoint)
        angles = label[:, None] * ((1 / self.max_positions) ** steps).to(label.dtype)
        waves = (angles.sin(), angles.cos())
        return torch.cat(waves if self.sine_first else waves[::-1], dim=1)


class FourierNoise(nn.Module):
    """[sin | cos] of 2 pi f label with random frequencies f of deviation 16, which belong to the weights."""

    freqs: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.randn(width // 2) * 16)

    def forward(self, label: Tensor) -> Tensor:
        angles = label[:, None] * (2 * math.pi * self.freqs).to(label.dtype)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def group_norm(channels: int, eps: float) -> nn.GroupNorm:
    """Return a group norm of 32 groups, fewer where a group would have less than four channels.

    ValueError if the groups do not divide the channels.
    """
    groups = max(1, min(_MOST_GROUPS, channels // _LEAST_GROUP))
    return nn.GroupNorm(groups, channels, eps=eps)


def one_hot_rows(classes: Tensor | None, count: int, rows: Tensor) -> Tensor:
    """Return [rows, count] in the dtype of `rows`: one per class, zeros for the class `count` and for None.

    ValueError if there are not as many classes as rows.
    """
    if classes is None:
        return rows.new_zeros(len(rows), count)
    if classes.shape != (len(rows),):
        raise ValueError(f"{tuple(classes.shape)} classes for {len(rows)} rows; expected one class per row")
    return (classes[:, None] == torch.arange(count, device=classes.device)).to(rows.dtype)


def _square_filter(taps: Sequence[float]) -> Tensor:
    """Return the separable filter [1, 1, taps, taps] of sum 1, float32."""
    line = torch.tensor(taps, dtype=torch.float32)
    return (line[:, None] * line)[None, None] / line.sum().square()


def _per_channel(kernel: Tensor, x: Tensor) -> Tensor:
    return kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
