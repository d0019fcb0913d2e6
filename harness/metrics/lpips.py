"""LPIPS on AlexNet, version 0.1: a learned distance of two pictures.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (arXiv:1801.03924): features
after each of AlexNet's five ReLUs, unit length over channels; squared differences, weighted by channel, averaged over
places, summed over layers. The weights of channels ship with the project (lpips_alex.toml). AlexNet's own are
torchvision's; the user gives their file. Pictures with a side below 64 are first enlarged to 64 x 64, bilinearly:
AlexNet was made for larger ones. Not torchmetrics: it takes no file of the backbone, and fetches it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.errors import StoreDamagedError, UsageError
from harness.identity import file_sha256
from harness.metrics.image_pairs import ByImage
from harness.sampling.pixels import scale_to_unit

LEAST_SIDE = 64
_BATCH = 64
_CARD = Path(__file__).resolve().parent / "weights" / "lpips_alex.toml"
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_LAST_OF_LAYER = (1, 4, 7, 9, 11)
"""Places of the five ReLUs among AlexNet's features."""
_PREFIX = "features."
_EXPECTED = "the state dict of torchvision's AlexNet, as alexnet-owt-7be5be79.pth from download.pytorch.org/models/"


class Lpips:
    """The distance, ready to call; smaller is more alike, 0 is equal."""

    def __init__(self, backbone: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
        """Take AlexNet's tensors by torchvision's names; UsageError where they are others."""
        self._features = _alexnet_features(backbone).to(device).eval().requires_grad_(False)
        self._heads = [head.to(device) for head in _read_heads()]
        self._device = torch.device(device)

    def by_image(self, images: Tensor, others: Tensor) -> ByImage:
        """Return the distance of each pair of uint8 pictures [n, C, H, W]; grey ones count as three equal channels."""
        pairs = zip(images.split(_BATCH), others.split(_BATCH), strict=True)
        with torch.inference_mode():
            parts = [self._distances(one, other) for one, other in pairs]
        found: ByImage = torch.cat(parts).double().cpu().numpy()
        return found

    def _distances(self, images: Tensor, others: Tensor) -> Tensor:
        total = torch.zeros(len(images), device=self._device)
        both = zip(self._layers(images), self._layers(others), self._heads, strict=True)
        for one, other, head in both:
            squares = (_unit_length(one) - _unit_length(other)).square()
            total = total + (squares * head[:, None, None]).sum(1).mean((1, 2))
        return total

    def _layers(self, images: Tensor) -> list[Tensor]:
        """Return the features after each ReLU."""
        x = scale_to_unit(images.to(self._device).float())
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        shift, scale = (x.new_tensor(values)[:, None, None] for values in (_SHIFT, _SCALE))
        x = (x - shift) / scale
        if min(x.shape[2:]) < LEAST_SIDE:
            x = nn.functional.interpolate(x, (LEAST_SIDE, LEAST_SIDE), mode="bilinear", align_corners=False)

        found = []
        for place, layer in enumerate(self._features):
            x = layer(x)
            if place in _LAST_OF_LAYER:
                found.append(x)
        return found


def read_backbone(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a backbone's file; UsageError for a file that is no AlexNet's."""
    from harness.metrics.extractor_weights import read_extractor_weights

    found = read_extractor_weights(path)
    try:
        _alexnet_features(found)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return found


def _alexnet_features(backbone: Mapping[str, Tensor]) -> nn.Sequential:
    """Return AlexNet's convolutions up to the last ReLU."""
    from torchvision.models import alexnet

    with torch.device("meta"):
        features = alexnet(weights=None).features[: _LAST_OF_LAYER[-1] + 1]
    own = {name.removeprefix(_PREFIX): value for name, value in backbone.items() if name.startswith(_PREFIX)}
    try:
        features.load_state_dict(own, assign=True)
    except RuntimeError as error:
        raise UsageError(
            f"not the weights of AlexNet ({str(error).splitlines()[-1].strip()}); give {_EXPECTED}"
        ) from None
    assert isinstance(features, nn.Sequential)
    return features


def _read_heads() -> list[Tensor]:
    """Return the weights of channels of each layer; StoreDamagedError if the shipped file was altered."""
    from safetensors.torch import load_file

    card = tomllib.loads(_CARD.read_text(encoding="utf-8"))
    path = _CARD.with_name(card["file"])
    if not path.is_file() or file_sha256(path) != card["sha256"]:
        raise StoreDamagedError(f"{path} is missing or altered; restore the file from the repository")
    found = load_file(path)
    return [found[f"lin{layer}"] for layer in range(len(_LAST_OF_LAYER))]


def _unit_length(features: Tensor) -> Tensor:
    return features / torch.sqrt(1e-8 + features.square().sum(1, keepdim=True))
