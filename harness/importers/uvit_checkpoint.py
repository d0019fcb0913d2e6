"""Format "uvit": checkpoints of U-ViT (Bao et al. 2023, arXiv:2209.12152)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.errors import UsageError
from harness.importers.imported import ImportedNetwork
from harness.importers.origins import describe_files, find_licence, linear_sde_range, table_range
from harness.importers.statements import check_statements, need_statement, stated_choice, stated_count
from harness.importers.torch_files import count_up, find_state, read_torch_file, tensor_names, widen_tensors

_RAW_FILE = "nnet.pth"
"""What the authors' trainings call the weights that are not averaged, in the folder of nnet_ema.pth."""
_PUBLISHED_HEADS = {(12, 512): 8, (16, 768): 12, (20, 1024): 16, (28, 1152): 16}
"""Heads by depth and width; no shape depends on them."""
_PUBLISHED_ROWS = {1000: (1000, False), 1001: (1000, True)}
"""Classes, and whether the last row is for none, by the rows of the table of classes."""
_PUBLISHED_PROCESSES = {
    (12, 512, 2, 3, 32): "vp",
    (12, 512, 4, 3, 64): "vp",
    (16, 768, 4, 3, 64): "vp",
    (20, 1024, 4, 3, 64): "vp",
    (20, 1024, 2, 4, 32): "vp",
    (20, 1024, 4, 4, 64): "vp",
    (28, 1152, 2, 4, 32): "vp-latent",
    (28, 1152, 4, 4, 64): "vp-latent",
}
"""By depth, width, patch, channels and pixels a side of the state: both processes fit the same weights."""
_LOWEST_TIME, _LOWEST_TIME_WITH_CLASSES = 1e-3, 1e-4
"""Where the authors' samplers of the linear-beta SDE end."""
_STATEMENTS = ("process", "heads", "classes")


def recognises(source: Path) -> bool:
    """Tell whether a file holds the names of U-ViT."""
    return {"patch_embed.proj.weight", "in_blocks.0.attn.qkv.weight", "decoder_pred.weight"} <= tensor_names(source)


def read(source: Path, stated: Mapping[str, Any]) -> ImportedNetwork:
    """Return the network of a flat state dict.

    `process`, `heads` and `classes` must be stated for sizes that were not published.
    """
    check_statements(stated, _STATEMENTS, "uvit")
    if source.name == _RAW_FILE and stated.get("weights") != "raw":
        raise UsageError(f"{source} holds the raw weights; expected nnet_ema.pth, or state weights=raw")
    state = find_state(read_torch_file(source), source, stated)
    if any(name.startswith("context_embed.") for name in state.tensors):
        raise UsageError(f"{source} is a U-ViT of captions; expected one of classes, or an unconditional one")
    tensors, formats = widen_tensors(state.tensors, source)
    params, defaulted, (channels, resolution) = _params(tensors, source, stated)

    # process
    sizes = (params["depth"], params["width"], params["patch"], channels, resolution)
    process = stated_choice(stated, "process", ("vp", "vp-latent"))
    if process is None:
        process = _PUBLISHED_PROCESSES.get(sizes)
        defaulted.append("preconditioning")
    if process is None:
        raise need_statement(source, "its process, and vp and vp-latent have the same shapes", "process=vp")
    levels = _levels(process, has_classes="classes" in params)

    ranged = {"sigma_range": list(levels)} if process == "vp" else {}
    chosen = {"preconditioning": process, **ranged}

    # the record of its origin
    origin = {
        "format": "uvit",
        "files": describe_files(source, [source]),
        "config": {},
        "defaulted": defaulted,
        "weights": state.weights,
        "dtype": formats,
        "licence": find_licence(source.parent, stated),
        "sigma_range": list(levels),
        "process": chosen,
        "classes": {"count": params.get("classes", 0), "null": params.get("null_class", False)},
    }

    return ImportedNetwork(
        family="uvit",
        params=params | chosen,
        tensors=tensors,
        channels=channels,
        resolution=resolution,
        title=f"{source.stem}, U-ViT {params['depth']}/{params['width']}",
        origin=origin,
    )


def _levels(process: str, has_classes: bool) -> tuple[float, float]:
    """Return the levels on which the published networks are sampled."""
    if process == "vp":
        return linear_sde_range(_LOWEST_TIME_WITH_CLASSES if has_classes else _LOWEST_TIME)
    return table_range(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2)


def _params(
    tensors: Mapping[str, torch.Tensor], path: Path, stated: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str], tuple[int, int]]:
    """Return the family's parameters, which of them no file or person gave, and channels and pixels of the state."""
    try:
        width, channels, patch, _ = tensors["patch_embed.proj.weight"].shape
        hidden = len(tensors["mid_block.mlp.fc1.weight"])
        extras = 2 if "label_emb.weight" in tensors else 1
        side = math.isqrt(tensors["pos_embed"].shape[1] - extras) * patch
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(f"{path} is no U-ViT ({error}); expected the tensors of U-ViT's public code") from None

    # heads are in no shape
    depth, defaulted = 2 * count_up(tensors, "in_blocks."), []
    heads = stated_count(stated, "heads")
    if heads is None:
        heads = _PUBLISHED_HEADS.get((depth, width))
        if heads is None:
            raise need_statement(path, "how many heads it has", "heads=8")
        defaulted.append("heads")

    params: dict[str, Any] = {
        "depth": depth,
        "width": width,
        "heads": heads,
        "patch": patch,
        "mlp_ratio": hidden / width,
        "mlp_time_embed": "time_embed.0.weight" in tensors,
        "conv": "final_layer.weight" in tensors,
    }
    return params | _class_params(tensors, path, stated, defaulted), defaulted, (channels, side)


def _class_params(
    tensors: Mapping[str, torch.Tensor], path: Path, stated: Mapping[str, Any], defaulted: list[str]
) -> dict[str, Any]:
    table = tensors.get("label_emb.weight")
    if table is None:
        return {}
    classes, rows = stated_count(stated, "classes"), len(table)
    if classes is None:
        if rows not in _PUBLISHED_ROWS:
            raise need_statement(path, f"how many of its {rows} rows of classes are classes", "classes=1000")
        classes, has_null = _PUBLISHED_ROWS[rows]
        defaulted.append("classes")
        return {"classes": classes, "null_class": has_null}
    if rows - classes not in (0, 1):
        raise UsageError(f"{path} has {rows} rows of classes; expected {classes}, or one more for no class")
    return {"classes": classes, "null_class": rows > classes}
