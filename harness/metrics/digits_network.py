"""The feature network of the digits: a small CNN that names the digit and tells how noisy and how blurred it is.

Naming digits alone would teach it to ignore noise and blur, the very faults of few-step samplers; so it learns both.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 64
SIZE = 8  # pixels of height and width


class DigitsNetwork(nn.Module):
    """Three 3x3 convolutions (8x8, 8x8, 4x4), 64 linear features, and two heads that only training uses."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.conv3 = nn.Conv2d(24, 48, 3, padding=1)
        self.hidden = nn.Linear(48 * 4 * 4, FEATURES)
        self.digit = nn.Linear(FEATURES, 10)
        self.fault = nn.Linear(FEATURES, 2)

    def features(self, images: Tensor) -> Tensor:
        """Return the last hidden layer before its activation, [n, 64], of images [n, 1, 8, 8], pixels 0..255.

        Before, not after: no feature is ever constant, the covariance is regular and the features nearer to Gaussian.
        """
        x = images / 127.5 - 1
        x = F.silu(self.conv1(x))
        x = F.max_pool2d(F.silu(self.conv2(x)), 2)
        x = F.silu(self.conv3(x))
        return self.hidden(x.flatten(1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the ten digits [n, 10] and the strengths of noise and blur [n, 2]."""
        active = F.silu(self.features(images))
        return self.digit(active), self.fault(active)


def blur(images: Tensor, weight: Tensor) -> Tensor:
    """Return images [n, 1, 8, 8] mixed with their 3x3 binomial mean; weight [n, 1, 1, 1], 0 (sharp) to 1."""
    row = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(row, row)[None, None]
    return images + weight * (F.conv2d(F.pad(images, (1, 1, 1, 1)), kernel) - images)
