"""Format "autoencoder-kl": the decoder of an AutoencoderKL of diffusers, or of latent diffusion's own files.

Sources are folders such as stabilityai/sd-vae-ft-ema, and U-ViT's `autoencoder_kl*.pth` in the names of latent
diffusion (Rombach et al. 2022, arXiv:2112.10752), which diffusers renames alike. The encoder is compared and left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.config.toml_files import validated
from harness.errors import UsageError
from harness.importers.diffusers_folder import ModelFolder, check_values, find_model_folder, read_folder_weights
from harness.importers.imported import ImportedNetwork
from harness.importers.origins import UNSTATED, describe_files, find_licence
from harness.importers.statements import check_statements
from harness.importers.torch_files import count_up, find_state, read_torch_file, tensor_names, widen_tensors
from harness.sampling.decoder import DECODER_FAMILY, DecoderParams
from harness.sampling.weights_fit import check_fit

_CLASS = "AutoencoderKL"
_DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
    "block_out_channels": [64],
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 32,
    # the fields below were added over the years, so older files lack some
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
    "force_upcast": True,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}
"""The constructor's fields with the defaults of diffusers 0.42.1."""
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu", "swish", "gelu", "mish", "relu"),
    "shift_factor": (None,),
    "latents_mean": (None,),
    "latents_std": (None,),
    "force_upcast": (True, False),
    "use_quant_conv": (True, False),
    "use_post_quant_conv": (True, False),
    "mid_block_add_attention": (True, False),
}
"""Values of fields that are no sizes; force_upcast is about half precision, and decoding here is in float32."""
_FACTS: dict[str, Any] = {"act_fn": "silu", "norm_num_groups": 32, "sample_size": 256}
"""Of the autoencoders that come as files, in the authors' code alone."""
_RENAMED = {
    "nin_shortcut": "conv_shortcut",
    "norm_out": "conv_norm_out",
    "mid.block_1": "mid_block.resnets.0",
    "mid.block_2": "mid_block.resnets.1",
    "mid.attn_1": "mid_block.attentions.0",
}
_RENAMED_IN_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_IN_FILES = {"decoder.conv_in.weight", "decoder.mid.attn_1.q.weight", "decoder.up.0.block.0.conv1.weight"}


@dataclass(frozen=True)
class _Autoencoder:
    """An AutoencoderKL in diffusers' terms: all fields, all tensors, and the record of both."""

    fields: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    origin: dict[str, Any]


def recognises(source: Path) -> bool:
    """Tell whether a folder holds an AutoencoderKL, or a file one in the names of latent diffusion."""
    folder = find_model_folder(source, "vae")
    if folder is not None:
        return folder.config.get("_class_name") == _CLASS
    return tensor_names(source) >= _IN_FILES


def read(source: Path, stated: Mapping[str, Any]) -> ImportedNetwork:
    """Return the decoder of an autoencoder; UsageError for what the closed table of fields does not hold.

    Statements are `variant` of a folder, such as fp16, and `scaling_factor` of a file.
    """
    found = _read_folder(source, stated) if source.is_dir() else _read_file(source, stated)
    params = _decoder_params(found.fields, source)
    _check_all_tensors(found, source)

    return ImportedNetwork(
        family=DECODER_FAMILY,
        params=params.model_dump(mode="json"),
        tensors={n: value for n, value in found.tensors.items() if n.startswith(("decoder.", "post_quant_conv."))},
        channels=params.latent_channels,
        resolution=found.fields["sample_size"] // params.enlargement,
        title=f"{source.resolve().name}, the decoder of an AutoencoderKL",
        origin={"format": DECODER_FAMILY, **found.origin, "licence": find_licence(_folder_of(source), stated)},
    )


def _decoder_params(fields: Mapping[str, Any], source: Path) -> DecoderParams:
    """Return what the decoder is built of; UsageError for values that are no sizes."""
    return validated(DecoderParams, {key: fields[key] for key in DecoderParams.model_fields}, str(source))


def _folder_of(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _read_folder(source: Path, stated: Mapping[str, Any]) -> _Autoencoder:
    check_statements(stated, ("variant",), DECODER_FAMILY)
    folder = find_model_folder(source, "vae")
    if folder is None or folder.config.get("_class_name") != _CLASS:
        raise UsageError(f"{source} is no folder of an {_CLASS}; expected its config.json at the root or in vae/")
    fields, defaulted = _read_fields(folder)
    path = folder.weights_file(stated.get("variant"))
    tensors, formats = widen_tensors(read_folder_weights(path), path)

    origin = {
        "files": describe_files(source, [folder.config_file, path]),
        "config": {"model": folder.config},
        "defaulted": defaulted,
        "weights": str(stated.get("weights", UNSTATED)),
        "dtype": formats,
    }
    return _Autoencoder(fields, tensors, origin)


def _read_fields(folder: ModelFolder) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a configuration, and which took a default."""
    fields, defaulted = folder.fields(_DEFAULTS)
    check_values(fields, _SUPPORTED, folder.config_file)
    for key in ("in_channels", "sample_size"):
        if type(fields[key]) is not int or fields[key] < 1:
            raise UsageError(f"{folder.config_file}: {key} is {fields[key]!r}; expected a whole number above 0")

    levels = len(_decoder_params(fields, folder.config_file).block_out_channels)
    for key, block in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
        wanted = [block] * levels
        if fields[key] != wanted:
            raise UsageError(f"{folder.config_file}: {key} is {fields[key]}; supported is {wanted}")
    return fields, defaulted


def _read_file(source: Path, stated: Mapping[str, Any]) -> _Autoencoder:
    check_statements(stated, ("scaling_factor",), DECODER_FAMILY)
    state = find_state(read_torch_file(source), source, stated)
    tensors, formats = widen_tensors(state.tensors, source)
    fields = _sizes(tensors, source) | _FACTS
    if "scaling_factor" in stated:
        fields["scaling_factor"] = stated["scaling_factor"]

    origin = {
        "files": describe_files(source, [source]),
        "config": {},
        "defaulted": sorted([*_FACTS, *({"scaling_factor"} - stated.keys())]),
        "weights": state.weights,
        "dtype": formats,
    }
    return _Autoencoder(fields, rename_latent_diffusion(tensors, len(fields["block_out_channels"])), origin)


def _sizes(tensors: Mapping[str, torch.Tensor], path: Path) -> dict[str, Any]:
    """Return the fields of the module as shapes say them; the last level of the way up is the first one."""
    levels = count_up(tensors, "decoder.up.")
    try:
        channels = [len(tensors[f"decoder.up.{level}.block.0.conv1.weight"]) for level in range(levels)]
        pictures, latents = len(tensors["decoder.conv_out.weight"]), tensors["decoder.conv_in.weight"].shape[1]
        inputs = tensors["encoder.conv_in.weight"].shape[1]
    except (KeyError, IndexError) as error:
        raise UsageError(f"{path} lacks {error}; expected an autoencoder of latent diffusion") from None

    return {
        **_DEFAULTS,
        "in_channels": inputs,
        "out_channels": pictures,
        "latent_channels": latents,
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": count_up(tensors, "encoder.down.0.block."),
        "use_quant_conv": "quant_conv.weight" in tensors,
        "use_post_quant_conv": "post_quant_conv.weight" in tensors,
    }


def rename_latent_diffusion(tensors: Mapping[str, torch.Tensor], levels: int) -> dict[str, torch.Tensor]:
    """Return the tensors under diffusers' names, attention's 1x1 convolutions as matrices.

    Levels of the way up are numbered from the other end.
    """
    found = {}
    for name, value in tensors.items():
        new = _rename(name, levels)
        is_matrix = ".attentions." in new and value.ndim == 4 and value.shape[2:] == (1, 1)
        found[new] = value.flatten(1) if is_matrix else value
    return found


def _rename(name: str, levels: int) -> str:
    for old, new in _RENAMED.items():
        name = re.sub(rf"(^|\.){re.escape(old)}\.", rf"\g<1>{new}.", name)

    # levels
    if match := re.fullmatch(r"(encoder|decoder)\.(down|up)\.(\d+)\.(block|downsample|upsample)\.(.+)", name):
        half, way, level, part, rest = match.groups()
        number = int(level) if way == "down" else levels - 1 - int(level)
        part = {"block": "resnets", "downsample": "downsamplers.0", "upsample": "upsamplers.0"}[part]
        name = f"{half}.{way}_blocks.{number}.{part}.{rest}"

    # layers of attention
    if match := re.fullmatch(r"(.*\.attentions\.\d+)\.(\w+)\.(weight|bias)", name):
        layer, part, kind = match.groups()
        name = f"{layer}.{_RENAMED_IN_ATTENTION.get(part, part)}.{kind}"
    return name


def _check_all_tensors(found: _Autoencoder, source: Path) -> None:
    """Refuse tensors that are not exactly those of the whole autoencoder; it is built without storage."""
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        whole = AutoencoderKL(**found.fields)
    check_fit(found.tensors, whole.state_dict(), str(source), source.resolve().name)
