"""The decoder of latents: from final states to pictures, by diffusers' AutoencoderKL without its encoder.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models" (arXiv:2112.10752). It runs in
float32 whatever the network's precision, a fixed number of states at once: in another batch last bits differ.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from harness.specs.base import Closed, Json

DECODER_FAMILY = "autoencoder-kl"
"""What the card of an imported decoder has as its family."""


class DecoderParams(Closed):
    """Fields of AutoencoderKL that decide what its decoder does, by the library's names."""

    latent_channels: int = Field(gt=0)
    out_channels: Literal[1, 3]
    block_out_channels: tuple[int, ...] = Field(min_length=1)
    """Channels by level, that of the pictures first; each level but one doubles the sides."""
    layers_per_block: int = Field(gt=0)
    norm_num_groups: int = Field(gt=0)
    act_fn: Literal["silu", "swish", "gelu", "mish", "relu"] = "silu"
    mid_block_add_attention: bool = True
    use_post_quant_conv: bool = True
    scaling_factor: float = Field(gt=0)
    """States are divided by it before they are decoded."""

    @model_validator(mode="after")
    def _groups_fit(self) -> DecoderParams:
        for channels in self.block_out_channels:
            if channels < 1 or channels % self.norm_num_groups:
                raise ValueError(
                    f"block_out_channels holds {channels}; expected multiples of norm_num_groups = "
                    f"{self.norm_num_groups}"
                )
        return self

    @property
    def enlargement(self) -> int:
        """Return the pixels a side of a picture for each number a side of a state."""
        return 2 ** len(list(pairwise(self.block_out_channels)))


class LatentDecoder(nn.Module):
    """Decodes states [n, latent_channels, h, w] into pictures [n, out_channels, H, W], about in [-1, 1].

    Names of parameters are those of AutoencoderKL. Workers build it; it is called inside what is timed.
    """

    def __init__(self, params: DecoderParams, batch: int) -> None:
        super().__init__()
        from diffusers.models.autoencoders.vae import Decoder  # seconds to import

        self.params, self.batch = params, batch
        latents = params.latent_channels
        self.post_quant_conv = nn.Conv2d(latents, latents, 1) if params.use_post_quant_conv else nn.Identity()
        self.decoder = Decoder(
            in_channels=latents,
            out_channels=params.out_channels,
            up_block_types=("UpDecoderBlock2D",) * len(params.block_out_channels),
            block_out_channels=params.block_out_channels,
            layers_per_block=params.layers_per_block,
            norm_num_groups=params.norm_num_groups,
            act_fn=params.act_fn,
            mid_block_add_attention=params.mid_block_add_attention,
        )

    def forward(self, states: Tensor) -> Tensor:
        """Return the pictures of states, in batches of the size that was given; the last one may be smaller."""
        return torch.cat([self._decode(some) for some in states.split(self.batch)])

    def _decode(self, states: Tensor) -> Tensor:
        latents = states.to(self.decoder.conv_in.weight.dtype) / self.params.scaling_factor
        pictures: Tensor = self.decoder(self.post_quant_conv(latents))
        return pictures


def build_decoder(params: Json, batch: int) -> LatentDecoder:
    """Return a decoder with fresh weights."""
    return LatentDecoder(DecoderParams.model_validate(params), batch)
