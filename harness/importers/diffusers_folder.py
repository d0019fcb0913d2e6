"""Folders as diffusers' `save_pretrained` writes them: configuration, weights and scheduler of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.errors import UsageError, did_you_mean
from harness.importers.torch_files import find_state, read_safetensors, read_torch_file

_IGNORED = ("_class_name", "_diffusers_version", "_name_or_path")
_STEM = "diffusion_pytorch_model"


@dataclass(frozen=True)
class ModelFolder:
    """Where the files of one model lie, and its configuration as it stands."""

    source: Path
    config_file: Path
    config: dict[str, Any]
    scheduler_file: Path

    def fields(self, defaults: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the closed fields of a model, with the library's defaults, and which keys took a default."""
        return close_fields(self.config, defaults, self.config_file)

    def weights_file(self, variant: str | None) -> Path:
        """Return the file of weights, safetensors before pickles; a variant such as fp16 only if it is named."""
        stem = f"{_STEM}.{variant}" if variant else _STEM
        folder = self.config_file.parent
        for name in (f"{stem}.safetensors", f"{stem}.bin"):
            if (folder / name).is_file():
                return folder / name

        # what is there in its place
        if list(folder.glob(f"{stem}*.index.json")):
            raise UsageError(f"{folder} holds weights in several files; expected one, so save it with a larger shard")
        others = sorted(path.name for path in folder.glob(f"{_STEM}.*"))
        hint = f", found {', '.join(others)}: name a variant, such as --state variant=fp16" if others else ""
        raise UsageError(f"{folder} holds no {stem}.safetensors and no {stem}.bin; expected one of them{hint}")


def find_model_folder(source: Path, subfolder: str) -> ModelFolder | None:
    """Return the model in a folder, at its root or in a subfolder such as "unet"; None where there is none."""
    if not source.is_dir():
        return None
    for folder in (source / subfolder, source):
        path = folder / "config.json"
        if path.is_file():
            schedulers = [source / "scheduler" / "scheduler_config.json", source / "scheduler_config.json"]
            found = [one for one in schedulers if one.is_file()]
            return ModelFolder(source, path, read_json(path), found[0] if found else schedulers[1])
    return None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file; UsageError if it is none or cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON file ({error}); expected a configuration of diffusers") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no JSON object; expected a configuration of diffusers")
    return found


def close_fields(
    config: Mapping[str, Any], defaults: Mapping[str, Any], path: Path
) -> tuple[dict[str, Any], list[str]]:
    """Return every field of a closed table, and the names of those that the file lacks; UsageError for other keys."""
    for key, value in config.items():
        if key not in defaults and key not in _IGNORED:
            raise UsageError(f'{path}: unknown key "{key}" = {value!r}{did_you_mean(key, defaults)}')
    defaulted = [key for key in defaults if key not in config]
    return {key: config.get(key, default) for key, default in defaults.items()}, defaulted


def check_values(fields: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]], path: Path) -> None:
    """Raise UsageError for a field with a value that is not among the supported ones; true is not 1 here."""
    for key, values in allowed.items():
        if not any(type(fields[key]) is type(value) and fields[key] == value for value in values):
            expected = " or ".join(json.dumps(value) for value in values)
            raise UsageError(f"{path}: {key} is {json.dumps(fields[key])}; supported is {expected}")


def read_folder_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a model's weights file by diffusers' present names."""
    found = (
        read_safetensors(path) if path.suffix == ".safetensors" else find_state(read_torch_file(path), path, {}).tensors
    )
    return rename_old_attention(found, path)


_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def rename_old_attention(tensors: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors with attention layers under their present names, [C, C, 1, 1] weights squeezed.

    Before diffusers 0.14 they were called query, key, value and proj_attn. A layer with both is refused.
    """
    found: dict[str, torch.Tensor] = {}
    spellings: dict[str, set[bool]] = {}
    for name, value in tensors.items():
        layer, _, rest = _split_attention(name)
        part, _, kind = rest.rpartition(".")
        if layer and part in (*_OLD_ATTENTION, *_OLD_ATTENTION.values()):
            spellings.setdefault(layer, set()).add(part in _OLD_ATTENTION)
            name = f"{layer}.{_OLD_ATTENTION.get(part, part)}.{kind}"
            value = value.flatten(1) if value.ndim == 4 and value.shape[2:] == (1, 1) else value
        found[name] = value

    for layer, both in spellings.items():
        if len(both) > 1:
            raise UsageError(f"{path}: {layer} has old and new names of attention; expected one spelling")
    return found


def _split_attention(name: str) -> tuple[str, str, str]:
    """Return the layer `*.attentions.N` of a name, a dot, and what follows; a layer "" for other names."""
    before, found, after = name.partition(".attentions.")
    number, dot, rest = after.partition(".")
    return (f"{before}{found}{number}", dot, rest) if found and number.isdecimal() else ("", "", name)
