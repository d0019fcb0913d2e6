"""Format "ddim": checkpoints of ddim and pytorch_diffusion (Ho et al. 2020 in PyTorch), as diffusers' module has them.

The file has no configuration. What shapes do not say is the same in all published ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from harness.config.toml_files import validated
from harness.errors import UsageError
from harness.importers.imported import ImportedNetwork
from harness.importers.origins import describe_files, find_licence, table_range
from harness.importers.statements import check_statements, need_statement, stated_count
from harness.importers.torch_files import count_up, find_state, read_torch_file, tensor_names, widen_tensors
from methods.networks.diffusers_unet import DiffusersUNetParams

_PUBLISHED_RESOLUTIONS = {
    (128, 256, 256, 256): 32,
    (128, 128, 256, 256, 512, 512): 256,
    (128, 256, 256, 256, 512): 64,
}
"""Pixels a side of the published networks, by their channels."""
_CONSTANTS: dict[str, Any] = {
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "mid_block_type": "UNetMidBlock2D",
    "mid_block_scale_factor": 1,
    "downsample_padding": 0,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-6,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
}
"""Facts of the authors' code in diffusers' terms; attention has one head over all channels."""
_RENAMED = {
    "temb_proj": "time_emb_proj",
    "nin_shortcut": "conv_shortcut",
    "temb.dense.0": "time_embedding.linear_1",
    "temb.dense.1": "time_embedding.linear_2",
    "norm_out": "conv_norm_out",
    "mid.block_1": "mid_block.resnets.0",
    "mid.block_2": "mid_block.resnets.1",
    "mid.attn_1": "mid_block.attentions.0",
}
_RENAMED_IN_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def recognises(source: Path) -> bool:
    """Tell whether a file holds the names of ddim's U-Net."""
    return {"temb.dense.0.weight", "down.0.block.0.conv1.weight", "mid.attn_1.q.weight"} <= tensor_names(source)


def read(source: Path, stated: Mapping[str, Any]) -> ImportedNetwork:
    """Return the network of a flat state dict, or of a training's list, whose last entry is the average.

    `resolution` must be stated for sizes that were not published.
    """
    check_statements(stated, ("resolution",), "ddim")
    state = find_state(read_torch_file(source), source, stated)
    tensors, formats = widen_tensors(state.tensors, source)
    params = _params(tensors, source, stated)
    levels = len(params["block_out_channels"])
    checked = validated(DiffusersUNetParams, params, str(source))

    # the record of its origin
    origin = {
        "format": "ddim",
        "files": describe_files(source, [source]),
        "config": {},
        "defaulted": sorted([*_CONSTANTS, *([] if "resolution" in stated else ["sample_size"])]),
        "weights": state.weights,
        "dtype": formats,
        "licence": find_licence(source.parent, stated),
        "sigma_range": list(table_range(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))),
        "process": {"preconditioning": "vp-discrete"},
        "classes": {"count": 0, "null": False},
    }

    return ImportedNetwork(
        family="diffusers-unet",
        params={**params, "preconditioning": "vp-discrete"},
        tensors={
            f"inner.{name}": value.flatten(1) if _is_attention_weight(name) and value.ndim == 4 else value
            for name, value in rename_ddim(tensors, levels, source).items()
        },
        channels=checked.in_channels,
        resolution=checked.sample_size,
        title=f"{source.stem}, a U-Net of ddim",
        origin=origin,
    )


def rename_ddim(tensors: Mapping[str, torch.Tensor], levels: int, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors under diffusers' names; the levels of the way up are numbered from the other end."""
    found = {_rename(name, levels): value for name, value in tensors.items()}
    if len(found) != len(tensors):
        raise UsageError(f"{path} has two names for one tensor; expected a state dict of ddim")
    return found


def _rename(name: str, levels: int) -> str:
    for old, new in _RENAMED.items():
        name = re.sub(rf"(^|\.){re.escape(old)}\.", rf"\g<1>{new}.", name)

    # levels
    if match := re.fullmatch(r"(down|up)\.(\d+)\.(block|attn|downsample|upsample)\.(.+)", name):
        way, level, part, rest = match.groups()
        number = int(level) if way == "down" else levels - 1 - int(level)
        part = {"block": "resnets", "attn": "attentions", "downsample": "downsamplers.0"}.get(part, "upsamplers.0")
        name = f"{way}_blocks.{number}.{part}.{rest}"

    # layers of attention
    if match := re.fullmatch(r"(.*\.attentions\.\d+)\.(\w+)\.(weight|bias)", name):
        layer, part, kind = match.groups()
        name = f"{layer}.{_RENAMED_IN_ATTENTION.get(part, part)}.{kind}"
    return name


def _is_attention_weight(name: str) -> bool:
    return ".attentions." in name and name.endswith(".weight") and ".group_norm." not in name


def _params(tensors: Mapping[str, torch.Tensor], path: Path, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the module, sizes from shapes."""
    levels = count_up(tensors, "down.")
    try:
        channels = [len(tensors[f"down.{level}.block.0.conv1.weight"]) for level in range(levels)]
        inputs, outputs = tensors["conv_in.weight"].shape[1], len(tensors["conv_out.weight"])
    except (KeyError, IndexError) as error:
        raise UsageError(f"{path} lacks {error}; expected a state dict of ddim's U-Net") from None
    attends = [any(name.startswith(f"down.{level}.attn.") for name in tensors) for level in range(levels)]

    resolution = stated_count(stated, "resolution") or _PUBLISHED_RESOLUTIONS.get(tuple(channels))
    if resolution is None:
        raise need_statement(path, "the size of its images", "resolution=32")
    return {
        **_CONSTANTS,
        "sample_size": resolution,
        "in_channels": inputs,
        "out_channels": outputs,
        "block_out_channels": channels,
        "layers_per_block": count_up(tensors, "down.0.block."),
        "down_block_types": _block_types(attends, "Down"),
        "up_block_types": _block_types(reversed(attends), "Up"),
    }


def _block_types(attends: Iterable[bool], way: str) -> list[str]:
    return [f"{'Attn' if attention else ''}{way}Block2D" for attention in attends]
