"""Format "diffusers-unet": a folder of diffusers' UNet2DModel, such as google/ddpm-cifar10-32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.config.toml_files import validated
from harness.errors import UsageError
from harness.importers.diffusers_folder import ModelFolder, check_values, find_model_folder, read_folder_weights
from harness.importers.diffusers_scheduler import describe_model, read_scheduler
from harness.importers.imported import ImportedNetwork
from harness.importers.origins import describe_files
from harness.importers.statements import check_statements, need_statement, stated_count
from harness.importers.torch_files import widen_tensors
from methods.networks.diffusers_unet import DiffusersUNetParams

_DEFAULTS: dict[str, Any] = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    # the fields below were added over the years, so older files lack some
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,
}
"""The constructor's fields with the defaults of diffusers 0.42.1."""
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False, True),
    "time_embedding_type": ("positional",),
    "flip_sin_to_cos": (True, False),
    "mid_block_type": ("UNetMidBlock2D", None),
    "downsample_type": ("conv", "resnet"),
    "upsample_type": ("conv", "resnet"),
    "act_fn": ("silu", "swish", "gelu", "mish", "relu"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "add_attention": (True, False),
    "class_embed_type": (None,),
    "num_train_timesteps": (None,),
}
"""Values of fields that are no numbers."""


def recognises(source: Path) -> bool:
    """Tell whether a folder holds a UNet2DModel."""
    found = find_model_folder(source, "unet")
    return found is not None and found.config.get("_class_name") == "UNet2DModel"


def read(source: Path, stated: Mapping[str, Any]) -> ImportedNetwork:
    """Return the network of a folder; UsageError for what the closed table of fields does not hold.

    Statements are `resolution`, where sample_size is null, and `variant`, such as fp16.
    """
    check_statements(stated, ("resolution", "variant"), "diffusers-unet")
    folder = find_model_folder(source, "unet")
    if folder is None or folder.config.get("_class_name") != "UNet2DModel":
        raise UsageError(f"{source} is no folder of a UNet2DModel; expected its config.json at the root or in unet/")
    fields, defaulted = _read_fields(folder, stated)
    process = read_scheduler(folder.scheduler_file)

    # parameters as a card has them, without those that are null
    params = {key: value for key, value in fields.items() if value is not None} | process.params
    size = {key: value for key, value in params.items() if key not in process.params}
    checked = validated(DiffusersUNetParams, size, str(folder.config_file))
    weights = folder.weights_file(stated.get("variant"))
    tensors, formats = widen_tensors(read_folder_weights(weights), weights)

    # the record of its origin
    classes = {"count": checked.class_count, "null": False}
    files = describe_files(source, [folder.config_file, folder.scheduler_file, weights])
    origin = {
        "format": "diffusers-unet",
        "files": files,
        "dtype": formats,
        "classes": classes,
        **describe_model(folder, process, defaulted, stated),
    }

    return ImportedNetwork(
        family="diffusers-unet",
        params=params,
        tensors={f"inner.{name}": value for name, value in tensors.items()},
        channels=checked.in_channels,
        resolution=checked.sample_size,
        title=f"{source.resolve().name}, a UNet2DModel of diffusers",
        origin=origin,
    )


def _read_fields(folder: ModelFolder, stated: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    fields, defaulted = folder.fields(_DEFAULTS)
    check_values(fields, _SUPPORTED, folder.config_file)

    # a size may be a list of two, or absent
    size, resolution = fields["sample_size"], stated_count(stated, "resolution")
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        fields["sample_size"] = size[0]
    if size is None:
        if resolution is None:
            raise need_statement(folder.config_file, "a sample_size", "resolution=32")
        fields["sample_size"] = resolution
    elif resolution is not None and resolution != fields["sample_size"]:
        raise UsageError(f"{folder.config_file}: sample_size is {size}, but resolution is stated as {resolution}")
    return fields, defaulted
