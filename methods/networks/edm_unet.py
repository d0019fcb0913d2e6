"""What the U-Nets "song-unet" and "adm-unet" share: parameters by their published names, both paths, class rows.

Source: Karras et al. 2022 (arXiv:2206.00364), whose published networks are of these two
architectures. Some of those predict a variance too, in a second half of the output that no sampler
here uses.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from methods.networks.base import DataShape
from methods.networks.edm_layers import BlockStyle, EdmBlock, ResamplingConv, one_hot_rows
from methods.networks.preconditioned import PreconditionedNetwork, PreconditionedParams

Count = Annotated[int, Field(ge=1)]


class EdmUNetParams(PreconditionedParams):
    """Size of a published U-Net, by the names of its own configuration."""

    img_resolution: Count
    in_channels: Count
    out_channels: Count
    """Those of the image, or twice as many with a learned variance, which is computed and not used."""
    label_dim: int = Field(default=0, ge=0)
    """Classes of a conditional network; 0 is unconditional."""
    augment_dim: int = Field(default=0, ge=0)
    """Length of the augmentation labels of its training; they are absent in sampling."""
    model_channels: Count = 128
    channel_mult: tuple[Count, ...] = Field(default=(1, 2, 2, 2), min_length=1)
    """Channels of each resolution, in multiples of model_channels."""
    channel_mult_emb: Count = 4
    num_blocks: Count = 4
    attn_resolutions: tuple[int, ...] = (16,)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    label_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of training rows whose class is left out."""

    @property
    def class_count(self) -> int:
        return self.label_dim

    @property
    def has_null_class(self) -> bool:
        """Whether training left classes out; else the zero vector for no class was never seen."""
        return self.label_dim > 0 and self.label_dropout > 0

    @model_validator(mode="after")
    def _fits(self) -> EdmUNetParams:
        factor = 2 ** (len(self.channel_mult) - 1)
        if self.img_resolution % factor:
            raise ValueError(
                f"img_resolution is {self.img_resolution}; expected a multiple of {factor}, as channel_mult has "
                f"{len(self.channel_mult)} resolutions"
            )
        if self.out_channels not in (self.in_channels, 2 * self.in_channels):
            raise ValueError(
                f"out_channels is {self.out_channels}; expected in_channels = {self.in_channels}, or twice"
            )
        return self

    @property
    def embedding(self) -> int:
        """Return the width of the noise embedding."""
        return self.model_channels * self.channel_mult_emb


class EdmUNet(PreconditionedNetwork):
    """A U-Net with skips after every module of the encoder."""

    params: EdmUNetParams
    attends_in_all_decoder_blocks: bool
    map_layer0: nn.Linear
    map_layer1: nn.Linear

    def __init__(self, params: EdmUNetParams, data: DataShape) -> None:
        super().__init__(params, data)
        expected = (params.in_channels, params.img_resolution)
        if (data.channels, data.resolution) != expected:
            raise ValueError(
                f"this network is of {expected[0]} channels and {expected[1]} pixels a side, the data of "
                f"{data.channels} and {data.resolution}; choose a data set of the network's shape"
            )

    def build_paths(self, style: BlockStyle, residual: bool = False) -> int:
        """Create `enc` and `dec` without the last layers; return the decoder's channels.

        A residual encoder has one more convolution per resolution, from the picture downwards.
        """
        widths = [self.params.model_channels * mult for mult in self.params.channel_mult]
        enc, skips, channels = self._encoder(widths, style, residual)
        dec, channels = self._decoder(widths, style, skips, channels)
        self.enc, self.dec = nn.ModuleDict(enc), nn.ModuleDict(dec)
        return channels

    def _encoder(
        self, widths: list[int], style: BlockStyle, residual: bool
    ) -> tuple[dict[str, nn.Module], list[int], int]:
        """Return the modules by name, the channels of the skips, and those at the bottom."""
        p = self.params
        enc: dict[str, nn.Module] = {}
        skips, channels, auxiliary = [], p.model_channels, p.in_channels
        for level, width in enumerate(widths):
            # into this resolution
            side = p.img_resolution >> level
            if level == 0:
                enc[f"{side}x{side}_conv"] = ResamplingConv(p.in_channels, channels, 3)
            else:
                enc[f"{side}x{side}_down"] = EdmBlock(channels, channels, style, "down")
            if level and residual:
                enc[f"{side}x{side}_aux_residual"] = ResamplingConv(
                    auxiliary, channels, 3, "down", style.resample_filter, convolves_first=True
                )
                auxiliary = channels
            skips.append(channels)

            # blocks of this resolution
            for i in range(p.num_blocks):
                attends = side in p.attn_resolutions
                enc[f"{side}x{side}_block{i}"] = EdmBlock(channels, width, style, attends=attends)
                channels = width
                skips.append(channels)
        return enc, skips, channels

    def _decoder(
        self, widths: list[int], style: BlockStyle, skips: list[int], channels: int
    ) -> tuple[dict[str, nn.Module], int]:
        """Return the modules by name, and the channels at the top; `skips` is used up."""
        p = self.params
        dec: dict[str, nn.Module] = {}
        for level in reversed(range(len(widths))):
            # into this resolution
            side = p.img_resolution >> level
            if level == len(widths) - 1:
                dec[f"{side}x{side}_in0"] = EdmBlock(channels, channels, style, attends=True)
                dec[f"{side}x{side}_in1"] = EdmBlock(channels, channels, style)
            else:
                dec[f"{side}x{side}_up"] = EdmBlock(channels, channels, style, "up")

            # one block per skip
            for i in range(p.num_blocks + 1):
                chosen = self.attends_in_all_decoder_blocks or i == p.num_blocks
                attends = chosen and side in p.attn_resolutions
                block = EdmBlock(channels + skips.pop(), widths[level], style, attends=attends)
                dec[f"{side}x{side}_block{i}"] = block
                channels = widths[level]
        return dec, channels

    def raw(self, scaled: Tensor, label: Tensor) -> Tensor:
        """Return F's first `channels`; ValueError if `row_classes` has not one class per row."""
        embedding = self.embed_label(self.params.time_scale * label)
        skips: list[Tensor] = []
        x = self._descend(scaled, embedding, skips)
        for name, module in self.dec.items():
            if isinstance(module, EdmBlock):
                x = module(torch.cat([x, skips.pop()], dim=1) if "_block" in name else x, embedding)
        return self.to_image(x)[:, : self.data.channels]

    def _descend(self, x: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        """Return the encoder's output, and append its skips; `auxiliary` begins as the network's input."""
        auxiliary = x
        for name, module in self.enc.items():
            if name.endswith("_aux_residual"):
                x = auxiliary = skips[-1] = (x + module(auxiliary)) * 0.5**0.5
                continue
            x = module(x, embedding) if isinstance(module, EdmBlock) else module(x)
            skips.append(x)
        return x

    def class_rows(self, like: Tensor) -> Tensor:
        """Return the one-hot class of each row of `like` [rows, ...]; zeros for no class.

        In training a share `label_dropout` of the rows has none.
        """
        hot = one_hot_rows(self.row_classes, self.params.label_dim, like)
        if self.training and self.params.label_dropout:
            hot = hot * (torch.rand(len(hot), 1, device=hot.device) >= self.params.label_dropout)
        return hot

    @abstractmethod
    def embed_label(self, label: Tensor) -> Tensor:
        """Return the embedding [rows, embedding] of noise labels [rows] and of the rows' classes."""

    @abstractmethod
    def to_image(self, x: Tensor) -> Tensor:
        """Return F [rows, out_channels, height, width] from the decoder's last features."""
