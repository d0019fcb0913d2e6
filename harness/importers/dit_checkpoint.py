"""Format "dit": checkpoints of DiT and SiT (Peebles & Xie 2023, arXiv:2212.09748; Ma et al. 2024, arXiv:2401.08740).

Both have the same names and shapes, so the process must be stated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.errors import UsageError
from harness.importers.imported import ImportedNetwork
from harness.importers.origins import describe_files, find_licence, table_range
from harness.importers.statements import check_statements, need_statement, stated_choice, stated_count
from harness.importers.torch_files import FoundState, count_up, find_state, read_torch_file, tensor_names, widen_tensors
from methods.networks.dit import position_code

_PUBLISHED_HEADS = {(28, 1152): 16, (24, 1024): 16, (12, 768): 12, (12, 384): 6}
"""Heads by depth and width; no shape depends on them."""
_FLOW_RANGE = [0.001, 1000.0]
_PROCESSES: dict[str, dict[str, Any]] = {
    "vp-discrete": {"preconditioning": "vp-discrete"},
    "flow": {"preconditioning": "flow", "predicts": "velocity", "sigma_range": _FLOW_RANGE},
}
"""DiT's, and SiT's linear path with velocities, whose range is open and ends where we choose."""
_PUBLISHED_ROWS = 1001
_POSITION_TOLERANCE = 1e-3
"""An average drifts by rounding; a larger difference is another grid."""
_STATEMENTS = ("process", "heads", "classes", "guided_channels")


def recognises(source: Path) -> bool:
    """Tell whether a file holds the names of DiT."""
    return {"x_embedder.proj.weight", "t_embedder.mlp.0.weight", "pos_embed"} <= tensor_names(source)


def read(source: Path, stated: Mapping[str, Any]) -> ImportedNetwork:
    """Return the network of a flat state dict or of a training's file, whose average is taken.

    `process` must be stated; `heads` and `classes` for sizes that were not published.
    """
    check_statements(stated, _STATEMENTS, "dit")
    process = stated_choice(stated, "process", _PROCESSES)
    state = find_state(read_torch_file(source), source, stated)
    if process is None:
        raise need_statement(
            source, "whether it is DiT (vp-discrete) or SiT (flow), which have the same shapes", "process=vp-discrete"
        )
    tensors, formats = widen_tensors(state.tensors, source)
    params, defaulted, size = _params(tensors, state, source, stated)
    _check_positions(tensors["pos_embed"], params["width"], source)

    chosen = _PROCESSES[process]
    table = table_range(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))

    # the record of its origin
    origin = {
        "format": "dit",
        "files": describe_files(source, [source]),
        "config": {key: value for key, value in state.arguments.items() if isinstance(value, str | int | float)},
        "defaulted": defaulted,
        "weights": state.weights,
        "dtype": formats,
        "licence": find_licence(source.parent, stated),
        "sigma_range": list(chosen.get("sigma_range", table)),
        "process": chosen,
        "classes": {"count": params.get("classes", 0), "null": params.get("null_class", False)},
    }

    return ImportedNetwork(
        family="dit",
        params=params | chosen,
        tensors=tensors,
        channels=size[0],
        resolution=size[1],
        title=f"{source.stem}, {'SiT' if process == 'flow' else 'DiT'} {params['depth']}/{params['width']}",
        origin=origin,
    )


def _params(
    tensors: Mapping[str, torch.Tensor], state: FoundState, path: Path, stated: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str], tuple[int, int]]:
    """Return the family's parameters, which of them no file or person gave, and channels and pixels of the state."""
    try:
        width, channels, patch, _ = tensors["x_embedder.proj.weight"].shape
        hidden = len(tensors["blocks.0.mlp.fc1.weight"])
        outputs = len(tensors["final_layer.linear.weight"])
        side = math.isqrt(tensors["pos_embed"].shape[1]) * patch
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(f"{path} is no DiT ({error}); expected the tensors of DiT's public code") from None

    # heads and classes are in no shape
    depth = count_up(tensors, "blocks.")
    heads, defaulted = stated_count(stated, "heads"), []
    if heads is None:
        heads = _PUBLISHED_HEADS.get((depth, width))
        if heads is None:
            raise need_statement(path, "how many heads it has", "heads=16")
        defaulted.append("heads")

    # the rest is in the shapes
    learns_variance = _learns_variance(outputs, patch**2 * channels, path)
    params: dict[str, Any] = {
        "depth": depth,
        "width": width,
        "heads": heads,
        "patch": patch,
        "mlp_ratio": hidden / width,
        "learn_sigma": learns_variance,
    }
    params |= _class_params(tensors, state, path, stated, defaulted)
    return params | _guided_channels(channels, stated, defaulted), defaulted, (channels, side)


def _class_params(
    tensors: Mapping[str, torch.Tensor],
    state: FoundState,
    path: Path,
    stated: Mapping[str, Any],
    defaulted: list[str],
) -> dict[str, Any]:
    table = tensors.get("y_embedder.embedding_table.weight")
    if table is None:
        return {}
    classes = stated_count(stated, "classes") or state.arguments.get("num_classes")
    if classes is None and len(table) == _PUBLISHED_ROWS:
        classes = _PUBLISHED_ROWS - 1
        defaulted.append("classes")
    if classes is None:
        raise need_statement(path, f"how many of its {len(table)} rows of classes are classes", "classes=1000")
    if len(table) - classes not in (0, 1):
        raise UsageError(f"{path} has {len(table)} rows of classes; expected {classes}, or one more for no class")
    return {"classes": classes, "null_class": len(table) > classes}


def _guided_channels(channels: int, stated: Mapping[str, Any], defaulted: list[str]) -> dict[str, int]:
    """Return how many channels are guided: the first three of four latent ones, as the authors do, else all."""
    wanted = stated_count(stated, "guided_channels")
    if wanted is None and channels == 4:
        defaulted.append("guided_channels")
        wanted = 3
    return {} if wanted is None else {"guided_channels": wanted}


def _learns_variance(outputs: int, pixels: int, path: Path) -> bool:
    if outputs not in (pixels, 2 * pixels):
        raise UsageError(f"{path}: final_layer.linear.weight has {outputs} rows; expected {pixels} or {2 * pixels}")
    return outputs == 2 * pixels


def _check_positions(found: torch.Tensor, width: int, path: Path) -> None:
    side = math.isqrt(found.shape[1])
    wanted = position_code(width, side).to(found.dtype)
    if found.shape != wanted.shape:
        raise UsageError(f"{path}: pos_embed is {list(found.shape)}; expected {list(wanted.shape)}")
    gap = float((found - wanted).abs().max())
    if gap > _POSITION_TOLERANCE:
        raise UsageError(
            f"{path}: pos_embed differs by {gap:.2g} from the fixed code of a {side}x{side} grid; expected at most "
            f"{_POSITION_TOLERANCE:g}"
        )
