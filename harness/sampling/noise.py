"""Noise: a pure function of data set, seed set, image index and step, never of batch or worker.

Counter-based Philox (Salmon et al. 2011) through numpy: the key is (seed set, image index), the upper counter words
are (data set, purpose and step). So no two draws share a stream, and none depends on earlier draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_PREPARATION = 1 << 62  # first purpose word of noise that tunes or searches


class ImageNoise:
    """Noise of the images of one data set and seed set; draws are float32, made on the CPU, one image at a time.

    With `preparation` it is the noise for tuning and searching, disjoint from that of every scored image.
    """

    def __init__(self, dataset: str, seed_set: int, shape: Sequence[int], preparation: bool = False) -> None:
        self.shape = tuple(shape)
        self.seed_set = seed_set
        self._first_purpose = _PREPARATION if preparation else 0
        self._dataset = int.from_bytes(hashlib.sha256(dataset.encode()).digest()[:8], "little")

    def draw_initial(self, indices: Sequence[int]) -> Tensor:
        """Return unit noise [len(indices), channels, height, width] of the images' starting points."""
        return self._draw(indices, self._first_purpose)

    def draw_step(self, indices: Sequence[int], step: int) -> Tensor:
        """Return the unit noise that a stochastic solver adds in the given step."""
        return self._draw(indices, self._first_purpose + 1 + step)

    def _draw(self, indices: Sequence[int], purpose: int) -> Tensor:
        out = np.empty((len(indices), *self.shape), dtype=np.float32)
        bits = np.random.Philox(key=[self.seed_set, 0], counter=[0, 0, self._dataset, purpose])
        normal = np.random.Generator(bits).standard_normal
        state: Any = bits.state  # re-keying one generator costs a tenth of making a new one per image
        for row, index in enumerate(indices):
            state["state"]["key"][1] = index
            bits.state = state
            normal(out=out[row], dtype=np.float32)
        return torch.from_numpy(out)
