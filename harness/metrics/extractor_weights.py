"""Files of weights for feature networks: read as tensors alone; those of other networks are refused by name."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

_DINOV2_FILE = "dinov2_vitl14_pretrain.pth from dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/"
_INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth from torch-fidelity's releases"
_CLASSES_OF_TORCHVISION = 1000


def read_extractor_weights(weights: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, their bytes read as they are used; nothing in it is run.

    UsageError for a pickle of another program, a TorchScript program, and what holds more than tensors.
    """
    import torch

    # programs
    if weights.suffix.lower() == ".pkl":
        raise UsageError(
            f"{weights}: .pkl files of feature networks are programs and are not read; expected the .pth file"
        )
    if _is_torchscript(weights):
        raise UsageError(f"{weights}: found a TorchScript program, which is not run; expected the .pth file of weights")

    # tensors
    try:
        found = torch.load(weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"{weights}: not a plain file of tensors ({first[:120]}); give the published weights"
        ) from None
    if not isinstance(found, dict) or not all(torch.is_tensor(value) for value in found.values()):
        raise UsageError(f"{weights}: not a plain file of tensors by name; give the published weights")
    return found


def refuse_foreign_weights(name: str, weights: Path) -> None:
    """Raise UsageError where a file is known to be of another network than the feature network of a name."""
    found = read_extractor_weights(weights)
    if name == "dinov2":
        check_dinov2_weights(found, weights)
    head = found.get("fc.weight")
    if name == "inception-v3-compat" and head is not None and len(head) == _CLASSES_OF_TORCHVISION:
        raise UsageError(
            f"{weights}: found the Inception of torchvision (fc of 1000 classes), which pools otherwise and gives "
            f"another distance; expected {_INCEPTION_FILE}"
        )


def check_dinov2_weights(found: Mapping[str, Tensor], weights: Path) -> None:
    """Raise UsageError unless a file holds exactly the tensors of DINOv2 ViT-L/14, finite float32."""
    import torch

    from harness.metrics.dinov2_network import DINOV2_LARGE, DinoV2Network

    if "register_tokens" in found:
        raise UsageError(
            f"{weights}: found register_tokens, of the DINOv2 with registers (reg4), whose features are others; "
            f"expected {_DINOV2_FILE}"
        )
    if any(name.startswith(("embeddings.", "encoder.layer.")) for name in found):
        raise UsageError(
            f"{weights}: found the names of facebook/dinov2-large (encoder.layer.N); expected {_DINOV2_FILE}"
        )

    with torch.device("meta"):
        wanted = DinoV2Network(DINOV2_LARGE).state_dict()
    for name in sorted(wanted.keys() | found.keys()):
        is_there = list(found[name].shape) if name in found else "no such tensor"
        expected = list(wanted[name].shape) if name in wanted else "no such tensor"
        if is_there != expected:
            raise UsageError(
                f"{weights}: these are not the weights of dinov2: {name} is {is_there}, where ViT-L/14 has {expected}; "
                f"give {_DINOV2_FILE}"
            )
        if found[name].dtype != torch.float32 or not torch.isfinite(found[name]).all():
            raise UsageError(
                f"{weights}: {name} is {found[name].dtype} or not finite; expected finite float32, so give "
                f"{_DINOV2_FILE}"
            )


def _is_torchscript(weights: Path) -> bool:
    """Tell whether a file is an archive that holds code."""
    if not zipfile.is_zipfile(weights):
        return False
    with zipfile.ZipFile(weights) as archive:
        return any("code" in Path(name).parts[:-1] for name in archive.namelist())
