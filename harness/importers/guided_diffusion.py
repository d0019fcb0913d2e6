"""Format "guided-diffusion": state dicts of ADM's public code (Dhariwal & Nichol 2021, arXiv:2105.05233).

The flags of a file stand in no file: sizes are read off names and shapes, and the others must be stated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.config.toml_files import validated
from harness.errors import UsageError
from harness.importers.imported import ImportedNetwork
from harness.importers.origins import describe_files, find_licence, table_range
from harness.importers.statements import check_statements, need_statement, stated_choice, stated_count
from harness.importers.torch_files import count_up, find_state, read_torch_file, tensor_names, widen_tensors
from harness.registry import registry
from methods.networks.adm_unet import AdmUNetParams
from methods.networks.base import DataShape
from methods.networks.edm_layers import ResamplingConv
from methods.networks.vp_process import CosineBeta

_PROCESSES = {"cosine": "cosine", "linear": "vp-discrete"}
_CHANNELS_PER_HEAD = 64
_LEAST_CHANNELS = 128
"""Below that the family's norms have fewer groups than the 32 of ADM's."""
_STATEMENTS = ("image_size", "noise_schedule", "num_head_channels", "use_new_attention_order")
_IN_BLOCK = {
    "in_layers.0": "norm0",
    "in_layers.2": "conv0",
    "emb_layers.1": "affine",
    "out_layers.0": "norm1",
    "out_layers.3": "conv1",
    "skip_connection": "skip",
}
_IN_ATTENTION = {"norm": "norm2", "qkv": "qkv", "proj_out": "proj"}
_OUTSIDE = {"time_embed.0": "map_layer0", "time_embed.2": "map_layer1", "out.0": "out_norm", "out.2": "out_conv"}


def recognises(source: Path) -> bool:
    """Tell whether a file holds the names of ADM's U-Net."""
    return {"time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.1.qkv.weight"} <= tensor_names(source)


def read(source: Path, stated: Mapping[str, Any]) -> ImportedNetwork:
    """Return the network of a flat state dict; the flags that no shape shows must be stated."""
    check_statements(stated, _STATEMENTS, "guided-diffusion")
    state = find_state(read_torch_file(source), source, stated)
    size, schedule, new_order = _flags(source, stated)
    tensors, formats = widen_tensors(state.tensors, source)
    params = _params(tensors, size, source)
    validated(AdmUNetParams, params, str(source))

    # process
    chosen: dict[str, Any] = {"preconditioning": _PROCESSES[schedule]}
    table = table_range(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
    chosen["sigma_range"] = list(CosineBeta().ends if schedule == "cosine" else table)
    renamed = rename_guided(tensors, params, source)

    # the record of its origin
    origin = {
        "format": "guided-diffusion",
        "files": describe_files(source, [source]),
        "config": {},
        "defaulted": [],
        "weights": state.weights,
        "dtype": formats,
        "licence": find_licence(source.parent, stated),
        "sigma_range": chosen["sigma_range"],
        "process": chosen,
        "classes": {"count": params["label_dim"], "null": False},
    }

    return ImportedNetwork(
        family="adm-unet",
        params=params | chosen,
        tensors={name: _reorder(name, value, new_order, source) for name, value in renamed.items()} | _filters(params),
        channels=params["in_channels"],
        resolution=size,
        title=f"{source.stem}, ADM's U-Net",
        origin=origin,
    )


def rename_guided(
    tensors: Mapping[str, torch.Tensor], params: Mapping[str, Any], path: Path
) -> dict[str, torch.Tensor]:
    """Return the tensors under the family's names and in its shapes; UsageError for a name with no place."""
    places = _places(params)
    found: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        module, _, kind = name.rpartition(".")
        if module == "label_emb":
            found["map_label.weight"] = value.T.contiguous()
            continue
        new = _OUTSIDE.get(module) or _place(module, places)
        if new is None:
            raise UsageError(f"{path}: {name} has no place in ADM's U-Net with resblock_updown; expected such a one")
        pointwise = new.endswith((".qkv", ".proj")) and kind == "weight"
        found[f"{new}.{kind}"] = value.reshape(*value.shape[:2], 1, 1) if pointwise else value
    return found


def _flags(path: Path, stated: Mapping[str, Any]) -> tuple[int, str, bool]:
    """Return pixels a side, the name of the betas, and whether queries, keys and values come in whole blocks."""
    size, per_head = stated_count(stated, "image_size"), stated_count(stated, "num_head_channels")
    schedule = stated_choice(stated, "noise_schedule", _PROCESSES)
    order = stated.get("use_new_attention_order")
    for value, key, what, example in (
        (size, "image_size", "the size of its images", "64"),
        (schedule, "noise_schedule", "its betas", "cosine"),
        (per_head, "num_head_channels", "the channels of a head", "64"),
        (order, "use_new_attention_order", "the order of queries, keys and values", "true"),
    ):
        if value is None:
            raise need_statement(path, what, f"{key}={example}")

    if not isinstance(order, bool):
        raise UsageError(f"use_new_attention_order is stated as {order!r}; expected true or false")
    if per_head != _CHANNELS_PER_HEAD:
        raise UsageError(f"{path} has heads of {per_head} channels; supported are {_CHANNELS_PER_HEAD}")
    assert size is not None
    assert schedule is not None
    return size, schedule, order


def _params(tensors: Mapping[str, torch.Tensor], size: int, path: Path) -> dict[str, Any]:
    """Return the family's parameters from names and shapes."""
    try:
        width, channels = tensors["input_blocks.0.0.weight"].shape[:2]
        embedding, outputs = len(tensors["time_embed.0.weight"]), len(tensors["out.2.weight"])
        blocks, mult, attends = _levels(tensors, width, size)
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(f"{path} is no U-Net of ADM ({error}); expected the tensors of its public code") from None
    if width < _LEAST_CHANNELS:
        raise UsageError(f"{path} has {width} channels; supported are {_LEAST_CHANNELS} and more")

    labels = tensors.get("label_emb.weight")
    return {
        "img_resolution": size,
        "in_channels": channels,
        "out_channels": outputs,
        "label_dim": 0 if labels is None else len(labels),
        "model_channels": width,
        "channel_mult": mult,
        "channel_mult_emb": embedding // width,
        "num_blocks": blocks,
        "attn_resolutions": attends,
    }


def _levels(tensors: Mapping[str, torch.Tensor], width: int, size: int) -> tuple[int, list[int], list[int]]:
    """Return blocks per resolution, channels of each in multiples, and the resolutions that attend.

    A block that halves the size ends a resolution: it keeps its channels and stands where blocks would follow.
    """
    ups = {
        match[1]
        for name in tensors
        if (match := re.fullmatch(r"output_blocks\.(\d+)\.[12]\.in_layers\.0\.weight", name))
    }
    resolutions, total = len(ups) + 1, count_up(tensors, "input_blocks.")
    if total % resolutions or count_up(tensors, "output_blocks.") != total:
        raise ValueError(f"{total} input blocks for {resolutions} resolutions")

    mult, attends = [], []
    for level in range(resolutions):
        first = 1 + level * (total // resolutions)
        mult.append(len(tensors[f"input_blocks.{first}.0.in_layers.2.weight"]) // width)
        if f"input_blocks.{first}.1.qkv.weight" in tensors:
            attends.append(size >> level)
    return total // resolutions - 1, mult, attends


def _places(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the family's block for each block of ADM's code; a "+up" after the last of a resolution is its own."""
    size, blocks, levels = params["img_resolution"], params["num_blocks"], len(params["channel_mult"])
    bottom = f"{size >> (levels - 1)}x{size >> (levels - 1)}"
    places = {"middle_block.0": f"dec.{bottom}_in0", "middle_block.2": f"dec.{bottom}_in1"}
    for level in range(levels):
        side, up = size >> level, levels - 1 - level
        for i in range(blocks + 1):
            into = f"enc.{side}x{side}_block{i - 1}" if i else f"enc.{side}x{side}_{'down' if level else 'conv'}"
            places[f"input_blocks.{level * (blocks + 1) + i}"] = into
            places[f"output_blocks.{up * (blocks + 1) + i}"] = f"dec.{side}x{side}_block{i}"
        if level:
            places[f"output_blocks.{up * (blocks + 1) + blocks}+up"] = f"dec.{2 * side}x{2 * side}_up"
    return places


def _place(module: str, places: Mapping[str, str]) -> str | None:
    """Return the family's name of a layer of ADM's code, or None."""
    if module == "input_blocks.0.0":
        return places["input_blocks.0"]
    match = re.fullmatch(r"((?:input|output)_blocks\.\d+|middle_block)\.(\d)\.(\w+(?:\.\d)?)", module)
    if match is None:
        return None
    block, layer, rest = match[1], int(match[2]), match[3]

    # attention belongs to the block before it
    if rest in _IN_ATTENTION:
        place = places.get("middle_block.0" if block == "middle_block" else block) if layer == 1 else None
        return f"{place}.{_IN_ATTENTION[rest]}" if place else None
    if block == "middle_block":
        block = f"{block}.{layer}"
    elif layer:
        block = f"{block}+up"
    return f"{places[block]}.{_IN_BLOCK[rest]}" if block in places and rest in _IN_BLOCK else None


def _reorder(name: str, value: torch.Tensor, new_order: bool, path: Path) -> torch.Tensor:
    """Return the rows of queries, keys and values in the family's order: head, channel, which of the three."""
    if ".qkv." not in name:
        return value
    heads, rest = divmod(len(value), 3 * _CHANNELS_PER_HEAD)
    if rest:
        raise UsageError(f"{path}: {name} has {len(value)} rows; expected a multiple of {3 * _CHANNELS_PER_HEAD}")
    if new_order:  # which, head, channel
        split = value.unflatten(0, (3, heads, _CHANNELS_PER_HEAD)).movedim(0, 2)
    else:  # head, which, channel
        split = value.unflatten(0, (heads, 3, _CHANNELS_PER_HEAD)).movedim(1, 2)
    return split.flatten(0, 2).contiguous()


def _filters(params: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the constant filters of blocks that resample: a mean of 2x2, and its transpose."""
    family = registry().network("adm-unet")
    with torch.device("meta"):
        network = family(family.Params(**params), DataShape(params["in_channels"], params["img_resolution"]))
    mean = ResamplingConv(1, 1, 0, "down").resample_filter
    assert mean is not None
    return {name: mean.clone() for name, _ in network.named_buffers() if name.endswith("resample_filter")}
