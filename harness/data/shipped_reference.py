"""Reference sets that ship in place of their pictures: statistics by a feature network, with a card.

A folder for each data set lies in datasets/references, with a file of arrays and a card for each feature network. What
a file stands for is known by the pixels' SHA-256. Runs take it whether the pictures are at hand or not, so a suite has
the same rows on every machine; `reference = "pictures"` reads the pictures, and is another row.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import Field

from harness.config.toml_files import validated
from harness.data.cards import DatasetCard
from harness.errors import StoreDamagedError, UsageError
from harness.identity import file_sha256
from harness.specs.base import Closed
from harness.specs.sampler import ExtractorSpec

_IN_WHEEL = Path(__file__).resolve().parent / "shipped" / "references"
_FOLDER = _IN_WHEEL if _IN_WHEEL.is_dir() else Path(__file__).resolve().parents[2] / "datasets" / "references"
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=2)]


class ShippedReference(Closed):
    """The card of one file: which pictures, by which feature network, how it was made."""

    dataset: str
    split: str
    pixels: Sha256
    """Fingerprint of the split's pixels, as every identity has it."""
    training_split: str
    training_pixels: Sha256
    variant: str
    images: Count
    extractor: str
    layer: str
    resize: str
    extractor_sha256: Sha256
    kept_features: Count
    """Evenly spaced pictures whose features enter KID, precision and recall, in half precision."""
    coded_features: int = Field(ge=0)
    """Pictures among which copies are looked for, by principal directions in eight bits; 0: the kept ones."""
    sha256: Sha256
    """Of the file of arrays."""
    command: str
    libraries: dict[str, str]

    @property
    def path(self) -> Path:
        """Return the file of arrays."""
        return reference_folder() / self.dataset / f"{self.extractor}.safetensors"

    def is_by(self, extractor: ExtractorSpec) -> bool:
        """Tell whether this feature network made it."""
        ours = (self.extractor, self.layer, self.resize, self.extractor_sha256)
        return ours == (extractor.name, extractor.layer, extractor.resize, extractor.sha256)


def reference_folder() -> Path:
    """Return the folder that holds one folder for each data set."""
    return _FOLDER


def find_shipped_reference(card: DatasetCard, extractor: ExtractorSpec) -> ShippedReference | None:
    """Return the shipped reference set of a data set by a feature network; None where there is none of these pictures.

    StoreDamagedError where file and card do not match.
    """
    path = reference_folder() / card.name / f"{extractor.name}.toml"
    if not path.is_file():
        return None
    try:
        found = validated(ShippedReference, tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except UsageError as error:  # it names the file
        raise StoreDamagedError(f"{error}; restore the file from the repository") from None
    except (ValueError, OSError) as error:
        raise StoreDamagedError(f"{path}: {error}; restore the file from the repository") from None
    if not found.is_by(extractor) or not _is_of(found, card):
        return None

    # the file, by its card
    sha256 = file_sha256(found.path) if found.path.is_file() else "none, the file is missing"
    if sha256 != found.sha256:
        raise StoreDamagedError(
            f"{found.path}: found SHA-256 {sha256}; its card expects {found.sha256}, restore the file from the "
            "repository"
        )
    return found


def write_shipped_reference(card: ShippedReference, arrays: bytes) -> Path:
    """Write a file of arrays and its card, replacing those of that name; return the file."""
    head = f"# Written by `{card.command}`. Do not edit: the SHA-256 is checked against the file.\n"
    text = head + tomli_w.dumps(card.model_dump(mode="json"))
    card.path.parent.mkdir(parents=True, exist_ok=True)
    files = {card.path: arrays, card.path.with_suffix(".toml"): text.encode()}
    for path, content in files.items():
        path.with_suffix(path.suffix + ".new").write_bytes(content)
    for path in files:  # both are whole: between two renames nothing else can fail
        path.with_suffix(path.suffix + ".new").replace(path)
    return card.path


def reference_command(dataset: str, extractor: str) -> str:
    """Return the command that makes the file."""
    return shlex.join(["oneclock", "reference", dataset, "--extractor", extractor, "--into", "datasets"])


def _is_of(found: ShippedReference, card: DatasetCard) -> bool:
    """Tell whether a card knows these pictures: as its own pixels, or as one of its variants."""
    pinned: Mapping[str, str | None] = {name: split.sha256 for name, split in card.splits.items()}
    variants = [pinned, *(variant.sha256 for variant in card.variants.values())]
    wanted = ((found.split, found.pixels), (found.training_split, found.training_pixels))
    return found.split == card.reference and any(
        all(known.get(split) == pixels for split, pixels in wanted) for known in variants
    )
