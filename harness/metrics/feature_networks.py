"""The feature networks that this project adds to torch-fidelity, as its `FeatureExtractorBase` subclasses.

torch-fidelity asks for layers in an order that changes with the string hash of the process, so `forward` answers in the
order asked for. Importing this file registers both networks, once per process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch_fidelity import FeatureExtractorBase, register_feature_extractor
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from harness.errors import UsageError
from harness.metrics.digits_network import SIZE, DigitsNetwork

DIGITS_WEIGHTS = Path(__file__).resolve().parent / "weights" / "digits_cnn.safetensors"


class OneLayer(FeatureExtractorBase):
    """A feature network with a single layer, `layer`; subclasses say `features(images)`."""

    layer: str

    def __init__(self, name: str, features_list: list[str], **_: Any) -> None:  # torch-fidelity passes all it was told
        super().__init__(name, features_list)

    @classmethod
    def get_provided_features_list(cls) -> tuple[str, ...]:
        """Return the names of the layers."""
        return (cls.layer,)

    @classmethod
    def get_default_feature_layer_for_metric(cls, metric: str) -> str:
        """Return the layer for a metric: the same for all."""
        return cls.layer

    @staticmethod
    def can_be_compiled() -> bool:
        """Return False: compiled features would differ in the last bits."""
        return False

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return one float32 tensor [n, d] per layer asked for, of uint8 images [n, 3, H, W]."""
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise ValueError(f"found images {images.dtype} of shape {tuple(images.shape)}; expected uint8 [n, C, H, W]")
        features = {self.layer: self.features(images)}
        return tuple(features[name] for name in self.features_list)

    def features(self, images: Tensor) -> Tensor:
        """Return float32 features [n, d] of uint8 images [n, C, H, W]."""
        raise NotImplementedError(f"{type(self).__name__} must define features()")


class PixelFeatures(OneLayer):
    """The pixels themselves, x / 127.5 - 1, flattened in the order C, H, W: no weights, exact known answers."""

    layer = "pixels"

    def features(self, images: Tensor) -> Tensor:
        """Return float32 features [n, C H W]."""
        return images.flatten(1).float() / 127.5 - 1


class DigitsFeatures(OneLayer):
    """`harness.metrics.digits_network` with the shipped weights; 8x8 images only, colours averaged to grey."""

    layer = "hidden"

    def __init__(self, name: str, features_list: list[str], **told: Any) -> None:
        super().__init__(name, features_list, **told)
        self.network = DigitsNetwork()
        self.network.load_state_dict(load_file(DIGITS_WEIGHTS))
        self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """Return float32 features [n, 64]."""
        if tuple(images.shape[2:]) != (SIZE, SIZE):
            found = "x".join(map(str, images.shape[2:]))
            raise UsageError(f"found {found} images; the extractor digits-cnn takes {SIZE}x{SIZE} only, choose another")
        grey = images.float().sum(1, keepdim=True) / images.shape[1]  # exact for three equal channels
        features: Tensor = self.network.features(grey)
        return features


for _name, _class in (("pixels", PixelFeatures), ("digits-cnn", DigitsFeatures)):
    if _name not in FEATURE_EXTRACTORS_REGISTRY:  # a second registration raises
        register_feature_extractor(_name, _class)
