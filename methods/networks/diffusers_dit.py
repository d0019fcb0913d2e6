"""Family "diffusers-dit": DiT as diffusers has it (Peebles & Xie 2023, arXiv:2212.09748).

Its time frequencies and the epsilon of its second norm are other ones than the authors', so the
same weights make another network than in family "dit".
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor

from methods.networks.base import DataShape, NetworkParams
from methods.networks.diffusers_unet import called_classes
from methods.networks.preconditioned import PreconditionedNetwork, PreconditionedParams

_Count = Annotated[int, Field(ge=1)]


class DiffusersDiTParams(PreconditionedParams):
    """The constructor's fields under diffusers' own names."""

    num_attention_heads: _Count
    attention_head_dim: _Count
    in_channels: _Count
    out_channels: _Count
    """Twice in_channels where the second half is a learned variance, which is not used."""
    num_layers: _Count
    dropout: float = Field(ge=0, lt=1)
    norm_num_groups: _Count
    attention_bias: bool
    sample_size: _Count
    patch_size: _Count
    activation_fn: Literal["gelu-approximate", "gelu"]
    num_embeds_ada_norm: _Count
    """Classes; one more row of the table is for no class."""
    upcast_attention: Literal[False]
    norm_type: Literal["ada_norm_zero"]
    norm_elementwise_affine: Literal[False]
    norm_eps: float = Field(gt=0)

    @property
    def class_count(self) -> int:
        """Classes that the network knows."""
        return self.num_embeds_ada_norm

    @property
    def has_null_class(self) -> bool:
        """The library's table of classes always has a row for none."""
        return True

    @model_validator(mode="after")
    def _channels_agree(self) -> DiffusersDiTParams:
        if self.out_channels not in (self.in_channels, 2 * self.in_channels):
            raise ValueError(f"out_channels is {self.out_channels}; expected once or twice in_channels")
        return self

    def constructor_fields(self) -> dict[str, Any]:
        """Return the arguments of diffusers' DiTTransformer2DModel."""
        return {name: getattr(self, name) for name in DIT_FIELDS}


DIT_FIELDS = tuple(name for name in DiffusersDiTParams.model_fields if name not in PreconditionedParams.model_fields)
"""The 16 fields of the constructor."""


class DiffusersDiT(PreconditionedNetwork):
    """The library's own module, under `inner.`."""

    family: ClassVar[str] = "diffusers-dit"
    summary: ClassVar[str] = "diffusers' DiTTransformer2DModel, for imported checkpoints (Peebles 2023)"
    Params: ClassVar[type[NetworkParams]] = DiffusersDiTParams
    params: DiffusersDiTParams

    def __init__(self, params: DiffusersDiTParams, data: DataShape) -> None:
        super().__init__(params, data)
        if (params.in_channels, params.sample_size) != (data.channels, data.resolution):
            raise ValueError(
                f"in_channels and sample_size are {params.in_channels} and {params.sample_size}; expected those of "
                f"the data, {data.channels} and {data.resolution}"
            )
        if data.resolution % params.patch_size:
            raise ValueError(f"sample_size {data.resolution} is not divisible by patch_size = {params.patch_size}")
        from diffusers import DiTTransformer2DModel  # here, because it costs seconds that a plan need not pay

        self.inner = DiTTransformer2DModel(**params.constructor_fields())

    def raw(self, scaled: Tensor, label: Tensor) -> Tensor:
        classes = called_classes(self, len(scaled))
        raw = self.inner(scaled, timestep=self.params.time_scale * label, class_labels=classes).sample
        return raw[:, : self.data.channels]
