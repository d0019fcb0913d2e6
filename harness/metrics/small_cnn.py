"""The shared base of the shipped feature networks: pre-activation features, training heads, and the blur.

Predicting the label alone would teach a network to ignore noise and blur, the typical faults of few-step samplers. So
each also predicts the strengths of both.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmallCnn(nn.Module):
    """A network of features; subclasses define `hidden`, its trunk, the label head and the head `fault`."""

    size: ClassVar[int]  # pixels of height and width
    dim: ClassVar[int]  # features
    label_head: ClassVar[str]  # name of the linear layer that predicts the label
    fault: nn.Linear

    def features(self, images: Tensor) -> Tensor:
        """Return the last hidden layer before its activation, [n, dim], of images [n, C, size, size], pixels 0..255.

        Before the activation no feature is constant, the covariance is regular, and features are nearer to Gaussian.
        """
        raise NotImplementedError(f"{type(self).__name__} must define features()")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the labels [n, labels] and the strengths of noise and blur [n, 2]."""
        active = F.silu(self.features(images))
        return self.get_submodule(self.label_head)(active), self.fault(active)


def blur(images: Tensor, weight: Tensor, border: str = "constant") -> Tensor:
    """Return images [n, C, H, W] mixed with their 3x3 binomial mean; weight [n, 1, 1, 1], 0 (sharp) to 1.

    `border` is what `torch.nn.functional.pad` puts around the image.
    """
    row = torch.tensor([0.25, 0.5, 0.25])
    planes = F.pad(images, (1, 1, 1, 1), mode=border).flatten(0, 1)[:, None]
    mean = F.conv2d(planes, torch.outer(row, row)[None, None]).view(images.shape)
    return images + weight * (mean - images)
