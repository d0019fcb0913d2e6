"""The feature networks that this project adds to torch-fidelity, as its `FeatureExtractorBase` subclasses.

torch-fidelity requests layers in an order that changes with the process's string hash, so `forward` returns them in the
requested order. Importing this file registers them, once per process.
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
from harness.metrics.cifar10_16_network import Cifar10At16Network
from harness.metrics.cifar10_network import Cifar10Network
from harness.metrics.digits_network import DigitsNetwork
from harness.metrics.dinov2_network import DINOV2_LARGE, DinoV2Network, prepare_pictures
from harness.metrics.extractor_weights import check_dinov2_weights, read_extractor_weights
from harness.metrics.small_cnn import SmallCnn
from harness.sampling.pixels import scale_to_unit

WEIGHTS = Path(__file__).resolve().parent / "weights"


class OneLayer(FeatureExtractorBase):
    """A feature network with a single layer, `layer`; subclasses define `features(images)`."""

    layer: str

    def __init__(self, name: str, features_list: list[str], **_: Any) -> None:  # torch-fidelity passes further options
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
        """Return one float32 tensor [n, d] per requested layer, of uint8 images [n, C, H, W]."""
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise ValueError(f"found images {images.dtype} of shape {tuple(images.shape)}; expected uint8 [n, C, H, W]")
        features = {self.layer: self.features(images)}
        return tuple(features[name] for name in self.features_list)

    def features(self, images: Tensor) -> Tensor:
        """Return float32 features [n, d] of uint8 images [n, C, H, W]."""
        raise NotImplementedError(f"{type(self).__name__} must define features()")


class PixelFeatures(OneLayer):
    """The pixels themselves, x / 127.5 - 1, flattened in the order C, H, W: no weights, exact known values."""

    layer = "pixels"

    def features(self, images: Tensor) -> Tensor:
        """Return float32 features [n, C H W]."""
        return scale_to_unit(images.flatten(1))


class CnnFeatures(OneLayer):
    """A `SmallCnn` with its shipped weights; subclasses define `kind` and how channels are converted."""

    layer = "hidden"
    kind: type[SmallCnn]

    def __init__(self, name: str, features_list: list[str], **options: Any) -> None:
        super().__init__(name, features_list, **options)
        self.network = self.kind()
        self.network.load_state_dict(load_file(WEIGHTS / f"{name.replace('-', '_')}.safetensors"))
        self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """Return float32 features [n, dim]; UsageError for images of another size than the network's."""
        size = self.kind.size
        if tuple(images.shape[2:]) != (size, size):
            found = "x".join(map(str, images.shape[2:]))
            raise UsageError(
                f"found {found} images; the extractor {self.name} takes {size}x{size} only, choose another"
            )
        return self.network.features(self.to_channels(images))

    def to_channels(self, images: Tensor) -> Tensor:
        """Return float32 images with the channels that the network takes."""
        raise NotImplementedError(f"{type(self).__name__} must define to_channels()")


class DigitsFeatures(CnnFeatures):
    """`harness.metrics.digits_network`: 8x8 images only, colours averaged to grey."""

    kind = DigitsNetwork

    def to_channels(self, images: Tensor) -> Tensor:
        """Return the mean of the channels, exact for three equal ones."""
        return images.float().sum(1, keepdim=True) / images.shape[1]


class Cifar10Features(CnnFeatures):
    """`harness.metrics.cifar10_network`: 32x32 images only, grey repeated to three channels."""

    kind: type[SmallCnn] = Cifar10Network

    def to_channels(self, images: Tensor) -> Tensor:
        """Return colour images unchanged, grey ones repeated to three channels."""
        return images.float().expand(-1, 3, -1, -1)


class Cifar10At16Features(Cifar10Features):
    """`harness.metrics.cifar10_16_network`: 16x16 images only, grey repeated to three channels."""

    kind = Cifar10At16Network


class DinoV2Features(OneLayer):
    """`harness.metrics.dinov2_network` with the weights that the user gives; pictures of every size, resized."""

    layer = "class-token"

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: str, **_: Any) -> None:
        super().__init__(name, features_list)
        path = Path(feature_extractor_weights_path)
        weights = read_extractor_weights(path)
        check_dinov2_weights(weights, path)
        with torch.device("meta"):
            self.network = DinoV2Network(DINOV2_LARGE)
        self.network.load_state_dict(weights, assign=True)
        self.eval().requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """Return float32 features [n, 1024]."""
        found: Tensor = self.network(prepare_pictures(images))
        return found


_OURS = {
    "dinov2": DinoV2Features,
    "pixels": PixelFeatures,
    "digits-cnn": DigitsFeatures,
    "cifar10-cnn": Cifar10Features,
    "cifar10-16-cnn": Cifar10At16Features,
}
for _name, _class in _OURS.items():
    if _name not in FEATURE_EXTRACTORS_REGISTRY:  # a second registration raises
        register_feature_extractor(_name, _class)
