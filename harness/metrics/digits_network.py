"""The feature network of the digits: a small CNN that predicts the digit and the strengths of noise and blur."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from harness.metrics.small_cnn import SmallCnn
from harness.sampling.pixels import scale_to_unit


class DigitsNetwork(SmallCnn):
    """Three 3x3 convolutions (8x8, 8x8, 4x4), 64 linear features, and two heads that only training uses."""

    size, dim, label_head = 8, 64, "digit"

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.conv3 = nn.Conv2d(24, 48, 3, padding=1)
        self.hidden = nn.Linear(48 * 4 * 4, self.dim)
        self.digit = nn.Linear(self.dim, 10)
        self.fault = nn.Linear(self.dim, 2)

    def features(self, images: Tensor) -> Tensor:
        """Return the features [n, 64] of grey images [n, 1, 8, 8]; see `SmallCnn.features`."""
        x = scale_to_unit(images)
        x = F.silu(self.conv1(x))
        x = F.max_pool2d(F.silu(self.conv2(x)), 2)
        x = F.silu(self.conv3(x))
        return self.hidden(x.flatten(1))
