"""Weights as they lie in the zoo: in half precision where that leaves the network's limit as it is, else in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from harness.zoo.judge import Judge, Limit
from methods.networks.base import Network

SAME_LIMIT = 0.1
"""Half precision is taken where it moves the limit's FID by less than this share of the half-width of its interval."""


@dataclass(frozen=True)
class Stored:
    """The bytes of a weights file, and the network's limit with these weights and with the float32 ones."""

    data: bytes
    dtype: Literal["float32", "float16"]
    limit: Limit
    limit_float32: Limit


def store_weights(judge: Judge, model: Network, weights: Mapping[str, np.ndarray]) -> Stored:
    """Return the weights in the smallest format that leaves the limit as it is; `model` is left with them."""
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    model.load_state_dict(tensors)
    exact = judge.limit(model)
    half = {name: _rounded(value) for name, value in tensors.items()}
    model.load_state_dict({name: value.to(tensors[name].dtype) for name, value in half.items()})
    rounded = judge.limit(model)
    if _same(exact, rounded):
        return Stored(save(half), "float16", rounded, exact)
    model.load_state_dict(tensors)
    return Stored(save(tensors), "float32", exact, exact)


def _rounded(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def _same(exact: Limit, rounded: Limit) -> bool:
    one, other = exact.quality.figures, rounded.quality.figures
    if "fid_high" not in one or not np.isfinite(other.get("fid", np.nan)):
        return False
    return abs(other["fid"] - one["fid"]) < SAME_LIMIT * (one["fid_high"] - one["fid"])
