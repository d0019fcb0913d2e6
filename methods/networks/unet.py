"""Family "unet": diffusers' convolutional U-Net (Ho et al. 2020, arXiv:2006.11239)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from methods.networks.base import DataShape, NetworkParams
from methods.networks.preconditioned import PreconditionedNetwork, PreconditionedParams

Positive = Annotated[int, Field(ge=1)]


class UNetParams(PreconditionedParams):
    """Size of the U-Net, one entry of `channels` per resolution."""

    can_predict_both: ClassVar[bool] = True

    channels: tuple[Positive, ...] = Field(min_length=1)
    layers_per_block: Positive = 1
    patch: Positive = 1
    """Pixels a side that are folded into channels.

    Level 0 has resolution / patch (Luhman & Luhman 2022).
    """
    attention_levels: tuple[int, ...] = ()
    """Levels (0 is the full resolution) whose blocks have attention."""
    middle: bool = True
    """Whether the lowest resolution has a block between the two paths."""
    middle_attention: bool = False
    head_channels: Positive | None = 32
    """Channels per head; None is one head over all channels of its block."""
    norm_groups: Positive = 8
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> UNetParams:
        wrong = [c for c in self.channels if c % self.norm_groups]
        if wrong:
            raise ValueError(f"channels {wrong} are no multiples of norm_groups = {self.norm_groups}")
        levels = [level for level in self.attention_levels if not 0 <= level < len(self.channels)]
        if levels:
            raise ValueError(f"attention_levels {levels} do not exist; there are levels 0 to {len(self.channels) - 1}")
        return self


class UNet(PreconditionedNetwork):
    """A U-Net whose down path is mirrored on the way up."""

    family: ClassVar[str] = "unet"
    summary: ClassVar[str] = "convolutional U-Net with optional attention (Ho 2020), EDM or VP preconditioning"
    Params: ClassVar[type[NetworkParams]] = UNetParams
    params: UNetParams

    def __init__(self, params: UNetParams, data: DataShape) -> None:
        super().__init__(params, data)
        factor = params.patch * 2 ** (len(params.channels) - 1)
        if data.resolution % factor:
            raise ValueError(f"resolution {data.resolution} is not divisible by {factor}, which this U-Net needs")
        from diffusers import UNet2DModel  # here, because it costs seconds that a plan or a report need not pay

        self.inner = UNet2DModel(**diffusers_config(params, data))

    def raw(self, scaled: Tensor, label: Tensor) -> Tensor:
        folded = pixel_unshuffle(scaled, self.params.patch)
        raw = self.inner(folded.contiguous(memory_format=torch.channels_last), self.params.time_scale * label)
        return pixel_shuffle(raw.sample, self.params.patch)


def diffusers_config(params: UNetParams, data: DataShape) -> dict[str, Any]:
    """Return the arguments of diffusers' UNet2DModel; the up path mirrors the down path."""
    kinds = ["Attn" if level in params.attention_levels else "" for level in range(len(params.channels))]
    return {
        "sample_size": data.resolution // params.patch,
        "in_channels": data.channels * params.patch**2,
        "out_channels": data.channels * params.patch**2 * (2 if params.predicts == "both" else 1),
        "block_out_channels": params.channels,
        "layers_per_block": params.layers_per_block,
        "down_block_types": tuple(f"{kind}DownBlock2D" for kind in kinds),
        "up_block_types": tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        "mid_block_type": "UNetMidBlock2D" if params.middle else None,
        "add_attention": params.middle_attention,
        "attention_head_dim": params.head_channels,
        "norm_num_groups": params.norm_groups,
        "dropout": params.dropout,
    }
