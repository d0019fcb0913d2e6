"""Preparations of the zoo: per preparation a folder with its arrays and a card, checked when read.

A trial names one as `artifact = "zoo:NAME"` of a part, and then neither prepares it nor needs training images. The
SHA-256 of the arrays is the identity. A file unlike its card is damage (exit 4); a card that does not fit the trial is
a usage error (exit 2). Arrays are stored in half precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import Field

from harness.config.toml_files import read_toml, validated
from harness.config.zoo_card import zoo_entry_name
from harness.errors import StoreDamagedError, UsageError, did_you_mean
from harness.identity import file_sha256
from harness.specs.base import Closed, Json, Price
from harness.specs.sampler import PartSpec
from harness.storage.disk import is_temp, swapped_folder

_FOLDER = Path(__file__).resolve().parents[2] / "methods" / "preparations"
PREFIX = "zoo:"
ARRAYS_FILE, CARD_FILE = "preparation.safetensors", "card.toml"
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class MadeOn(Closed):
    """What a preparation was made on: a network of the zoo, and the training pixels."""

    network: str
    weights_sha256: Sha256
    """Of the zoo's file of that network."""
    data: str
    training_pixels: str


class StoredPreparation(Closed):
    """The card of one preparation."""

    name: str
    sha256: Sha256
    """Of the bytes of preparation.safetensors."""
    part: str
    method: str
    params: Json
    """Those that decide it; a trial need not repeat them."""
    training: int = Field(ge=0)
    """The number of the training, by which its noises and draws go."""
    on: MadeOn
    steps: int | None = None
    schedule: PartSpec | None = None
    solver: PartSpec | None = None
    """Of the trial that it was made for, where the method declares that they decide it."""
    seconds: float = Field(ge=0)
    flops: float | None = Field(default=None, ge=0)
    device: str
    command: str
    libraries: dict[str, str]

    @property
    def path(self) -> Path:
        """Return the file of arrays."""
        return preparations_folder() / self.name / ARRAYS_FILE

    def price(self) -> Price:
        """Return what it cost, as outputs of preparations hold it."""
        return Price(seconds=self.seconds, flops=self.flops)


def stated(params: Json) -> Json:
    """Return parameters without those that are None, which TOML cannot hold: a card leaves them out."""
    return {name: value for name, value in params.items() if value is not None}


def preparations_folder() -> Path:
    """Return the folder that holds one folder for each preparation."""
    return _FOLDER


def preparation_names() -> list[str]:
    """Return the names of the stored preparations, sorted."""
    return sorted(path.name for path in preparations_folder().glob("*/") if not is_temp(path.name))


def load_preparation(reference: str, training: int = 0) -> StoredPreparation:
    """Return the card of "zoo:NAME", or of NAME-seedK for a further training.

    UsageError for an unknown name, StoreDamagedError where card and file do not match.
    """
    if not reference.startswith(PREFIX):
        raise UsageError(f'artifact is "{reference}"; expected "{PREFIX}NAME", one that `oneclock ls zoo` lists')
    return load_stored(zoo_entry_name(reference.removeprefix(PREFIX), training))


def load_stored(name: str) -> StoredPreparation:
    """Return a card by its own name; errors as of `load_preparation`."""
    known = preparation_names()
    if name not in known:
        raise UsageError(f'preparation "{name[:80]}" is unknown{did_you_mean(name, known)} (see `oneclock ls zoo`)')

    path = preparations_folder() / name / CARD_FILE
    try:
        card = validated(StoredPreparation, read_toml(path), str(path))
    except UsageError as error:
        raise StoreDamagedError(f"{error}; restore the file from the repository") from None
    found = file_sha256(card.path) if card.path.is_file() else "none, the file is missing"
    if card.name != name or found != card.sha256:
        raise StoreDamagedError(
            f"{card.path}: found SHA-256 {found}; its card expects {card.sha256}, restore the file from the repository"
        )
    return card


def write_preparation(card: StoredPreparation, arrays: bytes) -> Path:
    """Write arrays and card, replacing a preparation of that name atomically; return the folder."""
    final = preparations_folder() / card.name
    final.parent.mkdir(parents=True, exist_ok=True)
    head = f"# Written by `{card.command}`. Do not edit: the SHA-256 is checked against the file.\n"
    with swapped_folder(final) as fresh:
        (fresh / ARRAYS_FILE).write_bytes(arrays)
        (fresh / CARD_FILE).write_text(head + tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)), "utf-8")
    return final
