"""Family "adm-unet": the U-Net of ADM (Dhariwal & Nichol 2021, arXiv:2105.05233) as Karras et al. 2022 publish it.

Parameter names are those of EDM's published state under `model.` (arXiv:2206.00364).

Dhariwal & Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis" (NeurIPS,
arXiv:2105.05233).
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import silu

from methods.networks.base import DataShape, NetworkParams
from methods.networks.edm_layers import BlockStyle, EdmBlock, ResamplingConv, SineNoise, group_norm
from methods.networks.edm_unet import Count, EdmUNet, EdmUNetParams

_EPS = 1e-5
_CHANNELS_PER_HEAD = 64


class AdmUNetParams(EdmUNetParams):
    """Size of an ADM network; its heads have 64 channels each."""

    model_channels: Count = 192
    channel_mult: tuple[Count, ...] = Field(default=(1, 2, 3, 4), min_length=1)
    num_blocks: Count = 3
    attn_resolutions: tuple[int, ...] = (32, 16, 8)


class AdmUNet(EdmUNet):
    """ADM: the embedding scales and shifts the second norm of each block, residuals are plain sums."""

    family: ClassVar[str] = "adm-unet"
    summary: ClassVar[str] = "ADM's U-Net, of EDM's checkpoints (Dhariwal 2021, Karras 2022)"
    Params: ClassVar[type[NetworkParams]] = AdmUNetParams
    params: AdmUNetParams
    attends_in_all_decoder_blocks = True

    def __init__(self, params: AdmUNetParams, data: DataShape) -> None:
        super().__init__(params, data)
        features, embedding = params.model_channels, params.embedding

        # embeddings
        self.map_noise = SineNoise(features, endpoint=False, sine_first=False)
        self.map_augment = None
        if params.augment_dim:
            self.map_augment = nn.Linear(params.augment_dim, features, bias=False).requires_grad_(False)
        self.map_layer0, self.map_layer1 = nn.Linear(features, embedding), nn.Linear(embedding, embedding)
        self.map_label = nn.Linear(params.label_dim, embedding, bias=False) if params.label_dim else None

        # both paths and the last layers
        style = BlockStyle(
            embedding=embedding,
            eps=_EPS,
            skip_scale=1.0,
            channels_per_head=_CHANNELS_PER_HEAD,
            scale_shift=True,
            projects_skip=False,
            dropout=params.dropout,
        )
        channels = self.build_paths(style)
        self.out_norm = group_norm(channels, _EPS)
        self.out_conv = ResamplingConv(channels, params.out_channels, 3)
        self._initialise()

    def embed_label(self, label: Tensor) -> Tensor:
        """Return the embedding; the class enters after the second layer, before its activation."""
        h = self.map_layer1(silu(self.map_layer0(self.map_noise(label))))
        if self.map_label is not None:
            h = h + self.map_label(self.class_rows(h))
        return silu(h)

    def to_image(self, x: Tensor) -> Tensor:
        return self.out_conv(silu(self.out_norm(x)))

    def _initialise(self) -> None:
        """Set the layers in front of a residual sum to zero; all others are torch's defaults, as published."""
        last = [self.out_conv]
        for module in self.modules():
            if isinstance(module, EdmBlock):
                last += [module.conv1, module.proj] if module.num_heads else [module.conv1]
        for layer in last:
            assert layer.weight is not None
            assert layer.bias is not None
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        if self.map_label is not None:  # of unit variance per class
            nn.init.normal_(self.map_label.weight)
