"""Feature networks by name: their specs, the SHA-256 of their weights, and calls that return features.

TF32 is off during extraction and the batch is fixed: TF32 changes the fourth digit of features, the batch the seventh.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreDamagedError, UsageError, did_you_mean
from harness.identity import file_sha256
from harness.metrics.extractor_weights import refuse_foreign_weights
from harness.sampling.place import Place
from harness.specs.sampler import ExtractorSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_WEIGHTS = Path(__file__).resolve().parent / "weights"
_NAME_DIGITS = re.compile(r"-([0-9a-f]{8})\.pth?$")
_PIXELS_RULE = "pixels: x / 127.5 - 1, flattened in the order C, H, W"


@dataclass(frozen=True)
class _Kind:
    """What is known of a feature network before it is loaded."""

    layer: str
    dim: int | None  # None: as many as the image has values
    batch: int  # images per call of the network, part of the figure
    sentence: str
    published: str = ""
    """The file of weights that the user must give, and where it is published; empty for shipped ones."""
    resize: str = "none"
    """How it brings pictures to its own size."""
    repeat_grey: bool = True

    @property
    def user_weights(self) -> bool:
        """Whether the user must give the weights."""
        return bool(self.published)


_KINDS = {
    "cifar10-16-cnn": _Kind(
        "hidden",
        64,
        512,
        "64 features of a small CNN for 16x16 photographs, trained on a JPEG quality 75 copy of CIFAR-10; ships with "
        "the project; its distance is not the literature's FID",
    ),
    "cifar10-cnn": _Kind(
        "hidden",
        128,
        256,
        "128 features of a small CNN for 32x32 photographs, trained on a JPEG quality 75 copy of CIFAR-10; ships with "
        "the project; its distance is not the literature's FID",
    ),
    "digits-cnn": _Kind("hidden", 64, 512, "64 features of a small CNN for 8x8 digits; ships with the project"),
    "dinov2": _Kind(
        "class-token",
        1024,
        32,
        "1024 features of DINOv2 ViT-L/14, whose distance is FD-DINOv2; needs its weights file",
        published="dinov2_vitl14_pretrain.pth from dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/",
        resize="bicubic-antialias-float-224",
    ),
    "inception-v3-compat": _Kind(
        "2048",
        2048,
        64,
        "2048 features of the literature's Inception (torch-fidelity); needs its weights file",
        published="weights-inception-2015-12-05-6726825d.pth from torch-fidelity's releases",
        resize="tf1-bilinear-299",
    ),
    "pixels": _Kind("pixels", None, 4096, "the pixels themselves, x / 127.5 - 1; known answers", repeat_grey=False),
}


class Extractor:
    """A loaded feature network: call it with uint8 images [n, C, H, W], get float32 features [n, dim]."""

    def __init__(self, name: str, sha256: str, network: Any, device: str) -> None:
        kind = _KINDS[name]
        self.name, self.layer, self.dim, self.batch = name, kind.layer, kind.dim, kind.batch
        self.sha256, self.device, self._device_type = sha256, device, device.partition(":")[0]
        self._network, self._repeat_grey = network, kind.repeat_grey

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features on the extractor's device; grey images are repeated to three channels."""
        import torch

        if images.dtype != torch.uint8 or images.dim() != 4:
            raise ValueError(f"found images {images.dtype} of shape {tuple(images.shape)}; expected uint8 [n, C, H, W]")
        if self._repeat_grey and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        with torch.inference_mode(), _float32_kernels(self._device_type):
            parts = [self._layer_of(part.to(self.device)) for part in images.split(self.batch)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _layer_of(self, images: Tensor) -> Tensor:
        """Return the layer by its name: the order of the network's tuple is not fixed."""
        features: Tensor = self._network.convert_features_tuple_to_dict(self._network(images))[self.layer]
        return features.float()


def extractor_names() -> tuple[str, ...]:
    """Return the names, sorted."""
    return tuple(sorted(_KINDS))


def list_extractors() -> list[tuple[str, str]]:
    """Return (name, one line) of every feature network, sorted by name; the line says how it resizes pictures."""
    return [
        (name, kind.sentence + ("" if kind.resize == "none" else f'; resize = "{kind.resize}"'))
        for name, kind in sorted(_KINDS.items())
    ]


def extractor_spec(name: str, weights: Path | None = None) -> ExtractorSpec:
    """Return the spec of a feature network without loading it.

    UsageError for an unknown name or a weights file that is missing, unwanted, of another network or not the one its
    name promises; StoreDamagedError if the shipped weights were altered.
    """
    kind = _kind_of(name)
    sha256, file = _weights_sha256(name, kind, weights)
    path = None if weights is None else str(weights)
    return ExtractorSpec(
        name=name,
        layer=kind.layer,
        resize=kind.resize,
        dim=kind.dim,
        batch=kind.batch,
        sha256=sha256,
        file=file,
        path=path,
    )


def load_extractor(name: str, weights: Path | None = None, device: str | torch.device = "cpu") -> Extractor:
    """Return the feature network of a name on a device, its weights verified; errors as `extractor_spec`."""
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    import harness.metrics.feature_networks  # noqa: F401  (registers ours)

    spec = extractor_spec(name, weights)
    options = {} if weights is None else {"feature_extractor_weights_path": str(weights)}

    try:
        network = FEATURE_EXTRACTORS_REGISTRY[name](name, [spec.layer], **options)
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"{weights}: these are not the weights of {name} ({first}); give the file it is published in"
        ) from None
    network.requires_grad_(False).eval().to(device)
    return Extractor(name, spec.sha256, network, str(device))


def cached_extractor(spec: ExtractorSpec, inputs: Mapping[str, Any], place: Place) -> Extractor:
    """Return the feature network of a spec, cached at the place between tasks; a user's weights arrive as bytes."""

    def load() -> Extractor:
        if spec.path is None:
            return load_extractor(spec.name, device=place.device.type)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / str(spec.file)
            path.write_bytes(inputs[spec.path].tobytes())
            return load_extractor(spec.name, path, place.device.type)

    return place.models.get(f"{spec.name}/{spec.sha256}", load)


def _kind_of(name: str) -> _Kind:
    if name not in _KINDS:
        raise UsageError(f'found the extractor "{name}", which is not known{did_you_mean(name, _KINDS)}')
    return _KINDS[name]


def _weights_sha256(name: str, kind: _Kind, weights: Path | None) -> tuple[str, str | None]:
    """Return the SHA-256 of the weights (of the rule for pixels), and the weights' file name if there is one."""
    if not kind.user_weights and weights is not None:
        raise UsageError(f"found a weights file for the extractor {name}, which takes none; leave it out")
    if name == "pixels":
        return hashlib.sha256(_PIXELS_RULE.encode()).hexdigest(), None
    if not kind.user_weights:
        return _shipped_sha256(name)

    # weights that the user must give
    if weights is None:
        raise UsageError(
            f"the extractor {name} needs its weights file, {kind.published}; give its path as extractor_weights"
        )
    if not weights.is_file():
        raise UsageError(f"{weights}: no such file; expected {kind.published}")

    sha256 = file_sha256(weights)
    promised = _NAME_DIGITS.search(weights.name)
    if promised and not sha256.startswith(promised[1]):
        raise UsageError(
            f"{weights}: found SHA-256 {sha256}; its name promises one starting with {promised[1]}, download it again"
        )
    refuse_foreign_weights(name, weights)
    return sha256, weights.name


def _shipped_sha256(name: str) -> tuple[str, str]:
    card = tomllib.loads((_WEIGHTS / f"{name.replace('-', '_')}.toml").read_text(encoding="utf-8"))
    path = _WEIGHTS / card["file"]
    found = file_sha256(path) if path.is_file() else "none, the file is missing"
    if found != card["sha256"]:
        raise StoreDamagedError(
            f"{path}: found SHA-256 {found}; expected {card['sha256']}, restore the file from the repository"
        )
    return found, card["file"]


@contextmanager
def _float32_kernels(device: str) -> Iterator[None]:
    """Compute float32 as float32 on a type of device, without autocast; the former settings are restored.

    On GPUs convolutions default to TF32.
    """
    import torch

    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False), _float32_kernels(device):
            yield
        return
    if device == "cpu":
        yield
        return

    settings = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    former = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, value in zip(settings, former, strict=True):
            setting.fp32_precision = value
