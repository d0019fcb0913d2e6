"""Format "diffusers-dit": a folder of diffusers' DiTTransformer2DModel, such as facebook/DiT-XL-2-256."""

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
from harness.importers.statements import check_statements
from harness.importers.torch_files import widen_tensors
from methods.networks.diffusers_dit import DIT_FIELDS, DiffusersDiTParams

_CLASS, _OLD_CLASS = "DiTTransformer2DModel", "Transformer2DModel"
_DEFAULTS: dict[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": None,
    "num_layers": 28,
    "dropout": 0.0,
    "norm_num_groups": 32,
    "attention_bias": True,
    "sample_size": 32,
    "patch_size": 2,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "upcast_attention": False,
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-5,
}
"""The constructor's fields with the defaults of diffusers 0.42.1."""
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "attention_bias": (True, False),
    "activation_fn": ("gelu-approximate", "gelu"),
    "upcast_attention": (False,),
    "norm_type": ("ada_norm_zero",),
    "norm_elementwise_affine": (False,),
}
_OLD_FIELDS: dict[str, tuple[Any, ...]] = {
    "caption_channels": (None,),
    "cross_attention_dim": (None,),
    "attention_type": ("default",),
    "double_self_attention": (False,),
    "interpolation_scale": (None,),
    "num_vector_embeds": (None,),
    "only_cross_attention": (False,),
    "use_additional_conditions": (None, False),
    "use_linear_projection": (False,),
}
"""Further fields of the class that once held DiT, each with the values that leave a DiT."""


def recognises(source: Path) -> bool:
    """Tell whether a folder holds a DiT of diffusers."""
    return _find(source) is not None


def read(source: Path, stated: Mapping[str, Any]) -> ImportedNetwork:
    """Return the network of a folder; UsageError for what the closed table of fields does not hold.

    `variant` may be stated, such as fp16.
    """
    check_statements(stated, ("variant",), "diffusers-dit")
    folder = _find(source)
    if folder is None:
        raise UsageError(f"{source} is no folder of a {_CLASS}; expected config.json at the root or in transformer/")
    fields, defaulted = _read_fields(folder)
    process = read_scheduler(folder.scheduler_file)
    checked = validated(DiffusersDiTParams, fields, str(folder.config_file))

    # weights
    weights = folder.weights_file(stated.get("variant"))
    tensors, formats = widen_tensors(read_folder_weights(weights), weights)

    # the record of its origin
    classes = {"count": checked.class_count, "null": True}
    files = describe_files(source, [folder.config_file, folder.scheduler_file, weights])
    origin = {
        "format": "diffusers-dit",
        "files": files,
        "dtype": formats,
        "classes": classes,
        **describe_model(folder, process, defaulted, stated),
    }

    return ImportedNetwork(
        family="diffusers-dit",
        params=fields | process.params,
        tensors={f"inner.{name}": value for name, value in tensors.items()},
        channels=checked.in_channels,
        resolution=checked.sample_size,
        title=f"{source.resolve().name}, a DiT of diffusers",
        origin=origin,
    )


def _find(source: Path) -> ModelFolder | None:
    found = find_model_folder(source, "transformer")
    if found is None:
        return None
    is_old = found.config.get("_class_name") == _OLD_CLASS and found.config.get("norm_type") == "ada_norm_zero"
    return found if is_old or found.config.get("_class_name") == _CLASS else None


def _read_fields(folder: ModelFolder) -> tuple[dict[str, Any], list[str]]:
    """Return the constructor's fields, and which took a default; the old class must say what makes a DiT."""
    is_old = folder.config.get("_class_name") == _OLD_CLASS
    table = _DEFAULTS | ({key: values[0] for key, values in _OLD_FIELDS.items()} if is_old else {})
    fields, defaulted = folder.fields(table)
    check_values(fields, _SUPPORTED | (_OLD_FIELDS if is_old else {}), folder.config_file)
    if missing := [key for key in DIT_FIELDS if is_old and key in defaulted and key != "out_channels"]:
        raise UsageError(
            f'{folder.config_file}: "{missing[0]}" is absent; expected every field of {_OLD_CLASS}, whose defaults are '
            "not DiT's"
        )

    wanted = {key: fields[key] for key in DIT_FIELDS}
    if wanted["out_channels"] is None:
        wanted["out_channels"] = wanted["in_channels"]
    return wanted, [key for key in defaulted if key in DIT_FIELDS]
