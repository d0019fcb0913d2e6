"""Family "song-unet": DDPM++ and NCSN++ (Song et al. 2021, arXiv:2011.13456) as Karras et al. 2022 publish them.

DDPM++ has a positional noise embedding, a standard encoder and filter [1, 1]. NCSN++ has Fourier
features, a residual encoder and filter [1, 3, 3, 1] (arXiv:2206.00364, table 2 and appendix F.1).
Parameter names are those of the published state under `model.`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import silu

from methods.networks.base import DataShape, NetworkParams
from methods.networks.edm_layers import BlockStyle, EdmBlock, FourierNoise, ResamplingConv, SineNoise, group_norm
from methods.networks.edm_unet import Count, EdmUNet, EdmUNetParams

_EPS = 1e-6


class SongUNetParams(EdmUNetParams):
    """Size of a DDPM++ or NCSN++."""

    embedding_type: Literal["positional", "fourier"] = "positional"
    channel_mult_noise: Count = 1
    """Width of the noise features before the embedding, in multiples of model_channels."""
    encoder_type: Literal["standard", "residual"] = "standard"
    decoder_type: Literal["standard"] = "standard"
    resample_filter: tuple[float, ...] = Field(default=(1.0, 1.0), min_length=2)


class SongUNet(EdmUNet):
    """DDPM++ or NCSN++: one head over all channels, residuals divided by sqrt(2)."""

    family: ClassVar[str] = "song-unet"
    summary: ClassVar[str] = "DDPM++ and NCSN++ of EDM's checkpoints (Song 2021, Karras 2022)"
    Params: ClassVar[type[NetworkParams]] = SongUNetParams
    params: SongUNetParams
    attends_in_all_decoder_blocks = False

    def __init__(self, params: SongUNetParams, data: DataShape) -> None:
        super().__init__(params, data)
        features, embedding = params.model_channels * params.channel_mult_noise, params.embedding

        # embeddings
        fourier = params.embedding_type == "fourier"
        self.map_noise = FourierNoise(features) if fourier else SineNoise(features, endpoint=True, sine_first=True)
        self.map_label = nn.Linear(params.label_dim, features) if params.label_dim else None
        self.map_augment = None
        if params.augment_dim:
            self.map_augment = nn.Linear(params.augment_dim, features, bias=False).requires_grad_(False)
        self.map_layer0, self.map_layer1 = nn.Linear(features, embedding), nn.Linear(embedding, embedding)

        # both paths and the last layers
        style = BlockStyle(
            embedding=embedding,
            eps=_EPS,
            skip_scale=0.5**0.5,
            channels_per_head=None,
            scale_shift=False,
            projects_skip=True,
            resample_filter=params.resample_filter,
            dropout=params.dropout,
        )
        channels = self.build_paths(style, residual=params.encoder_type == "residual")
        self._top = f"{params.img_resolution}x{params.img_resolution}"
        self.dec[f"{self._top}_aux_norm"] = group_norm(channels, _EPS)
        self.dec[f"{self._top}_aux_conv"] = ResamplingConv(channels, params.out_channels, 3)
        self._initialise()

    def embed_label(self, label: Tensor) -> Tensor:
        """Return the embedding; the class enters before the first layer, scaled by sqrt(classes)."""
        h = self.map_noise(label)
        if self.map_label is not None:
            h = h + self.map_label(self.class_rows(h) * self.params.label_dim**0.5)
        return silu(self.map_layer1(silu(self.map_layer0(h))))

    def to_image(self, x: Tensor) -> Tensor:
        return self.dec[f"{self._top}_aux_conv"](silu(self.dec[f"{self._top}_aux_norm"](x)))

    def _initialise(self) -> None:
        """Initialise as published: Xavier, smaller in front of a residual sum and in queries."""
        for module in self.modules():
            if isinstance(module, nn.Linear | ResamplingConv) and module.weight is not None:
                _set_xavier(module, 1.0)
        for module in self.modules():
            if isinstance(module, EdmBlock):
                _set_xavier(module.conv1, 1e-5)
                if module.num_heads:
                    _set_xavier(module.qkv, 0.2**0.5)
                    _set_xavier(module.proj, 1e-5)
        _set_xavier(self.dec[f"{self._top}_aux_conv"], 1e-5)


def _set_xavier(layer: nn.Module, gain: float) -> None:
    assert isinstance(layer, nn.Linear | ResamplingConv)
    assert layer.weight is not None
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
