"""Small networks of families song-unet and adm-unet with random weights of ordinary size, for tests."""

from __future__ import annotations

from typing import Any

import torch

from methods.networks.adm_unet import AdmUNet, AdmUNetParams
from methods.networks.base import DataShape
from methods.networks.edm_unet import EdmUNet
from methods.networks.song_unet import SongUNet, SongUNetParams

SMALL = {"img_resolution": 8, "in_channels": 3, "out_channels": 3, "num_blocks": 1, "attn_resolutions": [4]}
VP = {**SMALL, "model_channels": 16, "channel_mult": [2, 2], "augment_dim": 9, "num_blocks": 2}
VE = {
    **VP,
    "embedding_type": "fourier",
    "channel_mult_noise": 2,
    "encoder_type": "residual",
    "resample_filter": [1, 3, 3, 1],
    "channel_mult": [1, 2, 2],
}
ADM = {**SMALL, "model_channels": 64, "channel_mult": [1, 2], "label_dim": 5}
CONFIGS: dict[str, dict[str, Any]] = {"vp": {**VP, "label_dim": 5}, "ve": {**VE, "label_dim": 5}, "adm": ADM}


def randomised(network: EdmUNet, seed: int = 0) -> EdmUNet:
    """Return the network with matrices of N(0, 0.1), norms near 1 and biases near 0, none of them the initial value."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.named_parameters():
        noise = 0.1 * torch.randn(value.shape, generator=generator)
        value.data = noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return network.eval().requires_grad_(False)


def small_network(kind: str, seed: int = 0, **changes: Any) -> EdmUNet:
    """Return a small network of CONFIGS, randomised, float32."""
    config = {**CONFIGS[kind], **changes}
    data = DataShape(config["in_channels"], config["img_resolution"])
    made = AdmUNet(AdmUNetParams(**config), data) if kind == "adm" else SongUNet(SongUNetParams(**config), data)
    return randomised(made, seed)
