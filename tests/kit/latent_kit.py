"""Latents of digits at a tiny size: an autoencoder in both published layouts, a data set card, a suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from harness.config.network_card import load_network_card
from harness.data.cards import load_card
from harness.importers.importing import import_network
from harness.sampling.network import build_network
from kit.imports_kit import draw_weights

AUTOENCODER: dict[str, Any] = {
    "in_channels": 1,
    "out_channels": 1,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 8),
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "sample_size": 8,
    "scaling_factor": 0.5,
}
"""From 4x4x4 states to 1x8x8 pictures."""
_NETWORK = """
name = "latent-net"
title = "A tiny DiT for 4x4 states of 4 channels"
family = "dit"
state = [4, 4, 4]
weights = "latent-net.safetensors"

[params]
depth = 2
width = 16
heads = 2
patch = 2
preconditioning = "edm"
"""
_SUITE = """
name = "latents"
title = "Latents of digits"
dataset = "{folder}/latent-digits.toml"
network = "{folder}/latent-net.toml"
extractor = "digits-cnn"
n_images = 80
batch = 40
baseline = {{ solver = "ddim", schedule = "edm", clock_steps = 2 }}
timing.tier = "smoke"
truncation = {{ images = 20, steps = 16 }}
{decoder}

[[trials]]
steps = 2

[[trials]]
solver = "heun"
steps = 3
"""


def make_autoencoder(seed: int = 0, **changes: Any) -> AutoencoderKL:
    """Return a tiny autoencoder with drawn weights."""
    found = AutoencoderKL(**{**AUTOENCODER, **changes})
    draw_weights(found, seed)
    return found.eval()


def write_latent_data(folder: Path, latent: str = "channels = 4\nresolution = 4\nscaling_factor = 0.5") -> Path:
    """Write a card of the digits with latent states; return its path."""
    shipped = Path(__file__).resolve().parents[2] / "datasets" / "digits.toml"
    text = shipped.read_text().replace('name = "digits"', 'name = "latent-digits"')
    path = folder / "latent-digits.toml"
    path.write_text(f"{text}\n[latent]\n{latent}\n")
    return path


def write_latent_network(folder: Path) -> Path:
    """Write the card of a tiny network for the states, with drawn weights beside it; return its path."""
    path = folder / "latent-net.toml"
    path.write_text(_NETWORK)
    network = build_network(load_network_card(path), load_card(str(folder / "latent-digits.toml")).shape())
    draw_weights(network)
    save_file(network.state_dict(), folder / "latent-net.safetensors")
    return path


def write_decoder(folder: Path, **changes: Any) -> Path:
    """Import a tiny autoencoder from a folder of diffusers; return the path of the weights."""
    make_autoencoder(**changes).save_pretrained(folder / "published")
    list(import_network(folder / "published", None, "tiny", folder / "decoder", []))
    return folder / "decoder" / "tiny.safetensors"


def write_latent_suite(folder: Path, decoder: str) -> str:
    """Write data, network and a suite with a line on its decoder; return the path of the suite."""
    write_latent_data(folder)
    write_latent_network(folder)
    path = folder / "latents.toml"
    path.write_text(_SUITE.format(folder=folder, decoder=decoder))
    return str(path)


def save_as_latent_diffusion(model: AutoencoderKL, path: Path) -> Path:
    """Write an autoencoder in the names of latent diffusion; return the path."""
    levels = len(model.config.block_out_channels)
    state = {_old_name(n, levels): _old_value(n, value) for n, value in model.state_dict().items()}
    torch.save(state, path)
    return path


def _old_value(name: str, value: torch.Tensor) -> torch.Tensor:
    is_matrix = ".attentions." in name and value.ndim == 2
    return value[:, :, None, None].clone() if is_matrix else value


def _old_name(name: str, levels: int) -> str:
    """Return latent diffusion's name of a tensor, written down apart from the importer."""
    half, _, rest = name.partition(".")
    if half not in ("encoder", "decoder"):
        return name
    words = rest.split(".")
    if words[0] in ("down_blocks", "up_blocks"):
        way, number, part = words[0].removesuffix("_blocks"), int(words[1]), words[2]
        level = number if way == "down" else levels - 1 - number
        inner = (
            f"block.{words[3]}" if part == "resnets" else {"downsamplers": "downsample", "upsamplers": "upsample"}[part]
        )
        tail = ".".join(words[4:]).replace("conv_shortcut", "nin_shortcut")
        return f"{half}.{way}.{level}.{inner}.{tail}"
    if words[0] == "mid_block":
        tail = ".".join(words[3:])
        if words[1] == "resnets":
            return f"{half}.mid.block_{int(words[2]) + 1}.{tail.replace('conv_shortcut', 'nin_shortcut')}"
        new = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
        part, _, kind = tail.rpartition(".")
        return f"{half}.mid.attn_1.{new[part]}.{kind}"
    return f"{half}.{rest.replace('conv_norm_out', 'norm_out')}"
