"""Small untrained networks of blocks, for what runs a part of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from methods.networks.base import DataShape
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.dit import DiT, DiTParams
from methods.networks.uvit import UViT, UViTParams

Made = tuple[type[BlockNetwork], type[BlockParams]]
FAMILIES: dict[str, Made] = {"uvit": (UViT, UViTParams), "dit": (DiT, DiTParams)}
both = pytest.mark.parametrize("family", FAMILIES)


def network(family: str = "uvit", depth: int = 6, **changes: Any) -> BlockNetwork:
    """Return an untrained VP network in which every weight matters; DiT's own initial weights give 0."""
    torch.manual_seed(0)
    made, params = FAMILIES[family]
    sizes = {"width": 16, "heads": 2, "patch": 2, "preconditioning": "vp", **changes}
    built = made(params(depth=depth, **sizes), DataShape(1, 8))
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name not in built.fixed:
                parameter += 0.05 * torch.randn(parameter.shape)
    return built.eval().requires_grad_(False)
