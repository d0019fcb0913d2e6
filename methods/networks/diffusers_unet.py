"""Family "diffusers-unet": diffusers' UNet2DModel with every one of its fields (Ho et al. 2020, arXiv:2006.11239).

It is for published checkpoints. Several fields change the output of the network and not the shape of
any tensor, so none has a default here but those that may be null.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from methods.networks.base import DataShape, NetworkParams
from methods.networks.preconditioned import PreconditionedNetwork, PreconditionedParams

_Count = Annotated[int, Field(ge=1)]
_DownBlock = Literal["DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D"]
_UpBlock = Literal["UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"]
_Resampling = Literal["conv", "resnet"]


class DiffusersUNetParams(PreconditionedParams):
    """The constructor's fields under diffusers' own names; a field that may be null is null where absent."""

    sample_size: _Count
    """Pixels a side of the images."""
    in_channels: _Count
    out_channels: _Count
    center_input_sample: bool
    time_embedding_type: Literal["positional"]
    time_embedding_dim: _Count | None = None
    freq_shift: int
    flip_sin_to_cos: bool
    down_block_types: tuple[_DownBlock, ...] = Field(min_length=1)
    mid_block_type: Literal["UNetMidBlock2D"] | None = None
    """Without it there is no middle block."""
    up_block_types: tuple[_UpBlock, ...] = Field(min_length=1)
    block_out_channels: tuple[_Count, ...] = Field(min_length=1)
    layers_per_block: _Count
    mid_block_scale_factor: float = Field(gt=0)
    downsample_padding: int = Field(ge=0, le=1)
    downsample_type: _Resampling
    upsample_type: _Resampling
    dropout: float = Field(ge=0, lt=1)
    act_fn: Literal["silu", "swish", "gelu", "mish", "relu"]
    attention_head_dim: _Count | None = None
    """Channels per head; null is one head over all channels of its block."""
    norm_num_groups: _Count
    attn_norm_num_groups: _Count | None = None
    norm_eps: float = Field(gt=0)
    resnet_time_scale_shift: Literal["default", "scale_shift"]
    add_attention: bool
    class_embed_type: None = None
    num_class_embeds: _Count | None = None
    """Classes of a conditional network; null is unconditional."""
    num_train_timesteps: None = None

    @property
    def class_count(self) -> int:
        """Classes that a conditional network knows; 0 is unconditional."""
        return self.num_class_embeds or 0

    @model_validator(mode="after")
    def _levels_agree(self) -> DiffusersUNetParams:
        counts = {len(self.down_block_types), len(self.up_block_types), len(self.block_out_channels)}
        if len(counts) > 1:
            raise ValueError(
                f"down_block_types, up_block_types and block_out_channels have {sorted(counts)} entries; expected one "
                "count of levels"
            )
        wrong = [c for c in self.block_out_channels if c % self.norm_num_groups]
        if wrong:
            raise ValueError(f"channels {wrong} are no multiples of norm_num_groups = {self.norm_num_groups}")
        if self.out_channels != self.in_channels:
            raise ValueError(f"out_channels is {self.out_channels}; expected {self.in_channels}, as in_channels")
        return self

    def constructor_fields(self) -> dict[str, Any]:
        """Return the arguments of diffusers' UNet2DModel."""
        return {name: getattr(self, name) for name in UNET_FIELDS}


UNET_FIELDS = tuple(name for name in DiffusersUNetParams.model_fields if name not in PreconditionedParams.model_fields)
"""The 28 fields of the constructor."""


class DiffusersUNet(PreconditionedNetwork):
    """The library's own module, under `inner.`."""

    family: ClassVar[str] = "diffusers-unet"
    summary: ClassVar[str] = "diffusers' UNet2DModel with all its fields, for imported checkpoints (Ho 2020)"
    Params: ClassVar[type[NetworkParams]] = DiffusersUNetParams
    params: DiffusersUNetParams

    def __init__(self, params: DiffusersUNetParams, data: DataShape) -> None:
        super().__init__(params, data)
        if (params.in_channels, params.sample_size) != (data.channels, data.resolution):
            raise ValueError(
                f"in_channels and sample_size are {params.in_channels} and {params.sample_size}; expected those of "
                f"the data, {data.channels} and {data.resolution}"
            )
        factor = 2 ** (len(params.block_out_channels) - 1)
        if data.resolution % factor:
            raise ValueError(f"sample_size {data.resolution} is not divisible by {factor}, which this U-Net needs")
        from diffusers import UNet2DModel  # here, because it costs seconds that a plan or a report need not pay

        self.inner = UNet2DModel(**params.constructor_fields())

    def raw(self, scaled: Tensor, label: Tensor) -> Tensor:
        classes = called_classes(self, len(scaled))
        image = scaled.contiguous(memory_format=torch.channels_last)
        return self.inner(image, self.params.time_scale * label, class_labels=classes).sample


def called_classes(network: PreconditionedNetwork, rows: int) -> Tensor | None:
    """Return the class of each row of a call, [rows]; None for an unconditional network.

    Raises ValueError where a conditional network got no classes, or too few or too many.
    """
    if not network.params.class_count:
        return None
    classes = network.row_classes
    if classes is None and network.params.has_null_class:
        return torch.full((rows,), network.params.class_count, device=next(network.parameters()).device)
    if classes is None or len(classes) != rows:
        found = "none" if classes is None else len(classes)
        raise ValueError(f"{rows} rows have {found} classes; expected a class for each row")
    return classes
