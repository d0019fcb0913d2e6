"""Weights as the zoo stores them.

In half precision if that leaves the network's limit as it is, else in float32.
"""

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
"""Half precision may move the limit's FID by this share of its interval's half-width."""


@dataclass(frozen=True)
class StoredWeights:
    """The bytes of a weights file, and the network's limit with them and with float32 weights."""

    data: bytes
    dtype: Literal["float32", "float16"]
    limit: Limit
    limit_float32: Limit


def encode_weights(judge: Judge, model: Network, weights: Mapping[str, np.ndarray]) -> StoredWeights:
    """Return the weights in the smallest format that leaves the limit as it is.

    Loads them into `model`.
    """
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    model.load_state_dict(tensors)
    exact = judge.measure_limit(model)

    # half precision, if the limit is the same
    half = {name: _to_half(value) for name, value in tensors.items()}
    model.load_state_dict({name: value.to(tensors[name].dtype) for name, value in half.items()})
    rounded = judge.measure_limit(model)
    if _is_same_limit(exact, rounded):
        return StoredWeights(save(half), "float16", rounded, exact)

    model.load_state_dict(tensors)
    return StoredWeights(save(tensors), "float32", exact, exact)


def _to_half(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def _is_same_limit(exact: Limit, rounded: Limit) -> bool:
    one, other = exact.quality.figures, rounded.quality.figures
    if "fid_high" not in one or not np.isfinite(other.get("fid", np.nan)):
        return False
    return abs(other["fid"] - one["fid"]) < SAME_LIMIT * (one["fid_high"] - one["fid"])
