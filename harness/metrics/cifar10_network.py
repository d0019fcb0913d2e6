"""The feature network of CIFAR-10: a small CNN that predicts the class and the strengths of noise and blur.

Its distances rank samplers of 32x32 images; they are not the literature's FID.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.metrics.small_cnn import SmallCnn
from harness.sampling.pixels import scale_to_unit


class Cifar10Network(SmallCnn):
    """Three strided convolutions (16x16, 8x8, 4x4), 128 linear features, and two heads that only training uses."""

    size, dim, label_head = 32, 128, "label"

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 5, stride=2, padding=2, bias=False)
        self.norm1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 128, 3, stride=2, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(128)
        self.hidden = nn.Linear(128 * 4 * 4, self.dim)
        self.label = nn.Linear(self.dim, 10)
        self.fault = nn.Linear(self.dim, 2)

    def features(self, images: Tensor) -> Tensor:
        """Return the features [n, 128] of colour images [n, 3, 32, 32]; see `SmallCnn.features`."""
        x = scale_to_unit(images).contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
        x = F.silu(self.norm1(self.conv1(x)))
        x = F.silu(self.norm2(self.conv2(x)))
        x = F.silu(self.norm3(self.conv3(x)))
        return self.hidden(x.flatten(1))
