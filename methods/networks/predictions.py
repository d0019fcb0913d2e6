"""What a raw network under a variance-preserving process predicts, as c_skip and c_out of D = c_skip x + c_out F.

A state is x = y + sigma n. The network sees alpha y + sqrt(1 - alpha²) n = x / sqrt(1 + sigma²).
Sources: eps is Ho, Jain, Abbeel 2020 (arXiv:2006.11239); x0 and v are Salimans & Ho 2022
(arXiv:2202.00512).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

SkipAndOut = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From levels to c_skip and c_out, both of the shape of the levels."""


def _noise(sigma: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(sigma), -sigma


def _image(sigma: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(sigma), torch.ones_like(sigma)


def _velocity(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """F = alpha n - sqrt(1 - alpha²) y."""
    return 1 / (1 + sigma**2), -sigma / (1 + sigma**2).sqrt()


PREDICTIONS: Mapping[str, SkipAndOut] = {"eps": _noise, "x0": _image, "v": _velocity}
"""By the name of what is predicted."""
