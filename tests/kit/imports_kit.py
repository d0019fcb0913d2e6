"""Published layouts made at test time, with random weights that hide nothing behind zeros."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from harness.importers.imported import ImportedNetwork
from harness.registry import registry
from methods.networks.base import DataShape, Network
from methods.networks.vp_process import DiscreteBeta

UNET_FIELDS_OF_DDPM: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "center_input_sample": False,
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "downsample_padding": 0,
    "attention_head_dim": None,
    "norm_num_groups": 8,
    "norm_eps": 1e-6,
}
"""google/ddpm-cifar10-32's fields at a tiny size."""


def draw_weights(module: nn.Module, seed: int = 0) -> None:
    """Draw all matrices from N(0, 0.1), and move norms and biases off their ones and zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            drawn = 0.1 * torch.randn(value.shape, generator=generator)
            value.copy_(drawn if value.ndim > 1 else value + drawn)


def make_unet(**changes: Any) -> UNet2DModel:
    """Return a tiny UNet2DModel with drawn weights."""
    found = UNet2DModel(**{**UNET_FIELDS_OF_DDPM, **changes})
    draw_weights(found)
    return found.eval()


def save_unet(folder: Path, model: nn.Module, pickled: bool = False, nested: bool = False, **scheduler: Any) -> Path:
    """Write a model and its scheduler as diffusers does: at the root, or nested in unet/ and scheduler/."""
    assert isinstance(model, UNet2DModel)
    model.save_pretrained(folder / "unet" if nested else folder, safe_serialization=not pickled)
    DDPMScheduler(**scheduler).save_pretrained(folder / "scheduler" if nested else folder)
    return folder


def change_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; a key with the value ... is removed."""
    found = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not ...}))


def build_imported(found: ImportedNetwork, **changes: Any) -> Network:
    """Return the network in float64, with some of its parameters changed."""
    family = registry().network(found.family)
    network = family(family.Params(**{**found.params, **changes}), DataShape(found.channels, found.resolution))
    network.load_state_dict(found.tensors)
    return network.double().eval().requires_grad_(False)


def integer_levels(taus: tuple[int, ...] = (0, 1, 7, 100, 333, 500, 901, 999)) -> tuple[Tensor, Tensor]:
    """Return steps of DDPM's table and their levels, float64."""
    steps = torch.tensor(taus, dtype=torch.float64)
    return steps, DiscreteBeta().sigma(steps / 1000)


def noisy_images(sigma: Tensor, channels: int, side: int) -> Tensor:
    """Return states of levels [rows, channels, side, side], float64."""
    generator = torch.Generator().manual_seed(1)
    shape = (len(sigma), channels, side, side)
    return (0.5 + sigma[:, None, None, None]) * torch.randn(shape, generator=generator, dtype=torch.float64)


def relative_gap(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference over the rows, each relative to its largest number."""
    rows = (found - wanted).flatten(1).abs().amax(1) / wanted.flatten(1).abs().amax(1)
    return float(rows.max())
