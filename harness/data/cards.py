"""Data set cards: one TOML file per data set, found by name and checked before anything is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from harness.config.toml_files import read_toml, validated
from harness.data.readers import READERS
from harness.data.readers.base import Reader, WantedSplit
from harness.errors import UsageError, did_you_mean
from harness.identity import check_name
from harness.specs.base import Closed
from harness.specs.sampler import DataSpec, LatentSpec
from methods.networks.base import DataShape

CARDS_SETTING = "ONECLOCK_DATASETS"
_IN_WHEEL = Path(__file__).resolve().parent / "shipped"
_SHIPPED = _IN_WHEEL if _IN_WHEEL.is_dir() else Path(__file__).resolve().parents[2] / "datasets"
"""In a wheel the cards are copied next to this module, in a source tree they are its datasets/ (see setup.py)."""
_OWN_VARIANTS = {"original", "unpinned"}  # the names of pinned pixels, and of pixels that no card pins
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class SplitCard(Closed):
    """One split: how many images, where the reader finds them, and the SHA-256 of the pixels if it is pinned.

    Without `n` it has as many as are found.
    """

    n: int | None = Field(default=None, gt=0)
    source: str | None = None
    sha256: Sha256 | None = None


class VariantCard(Closed):
    """A known copy of the data with other pixels: a note on it, and its SHA-256 per split."""

    note: str
    sha256: dict[str, Sha256] = Field(min_length=1)


class DatasetCard(Closed):
    """The description of one data set."""

    name: str
    title: str
    reader: str
    arguments: SerializeAsAny[Reader]
    resolution: int = Field(gt=0, le=4096)
    """Of the pictures, pixels a side; so are `channels`."""
    channels: Literal[1, 3]
    latent: LatentSpec | None = None
    """The shape of the states, where networks know the pictures as latents of an autoencoder."""
    labels: int = Field(default=0, ge=0)
    sigma_data: float = Field(default=0.5, gt=0)
    sigma_min: float = Field(default=0.002, gt=0)
    sigma_max: float = Field(default=80.0, gt=0)
    splits: dict[str, SplitCard] = Field(min_length=1)
    reference: str = "train"
    variants: dict[str, VariantCard] = Field(default_factory=dict)
    licence: str
    citation: str = ""
    obtain: str = ""

    @model_validator(mode="before")
    @classmethod
    def _arguments_are_the_readers(cls, tables: Any) -> Any:
        """Read plain arguments, as `model_dump` leaves them, back into the reader that the card names."""
        if isinstance(tables, dict) and isinstance(tables.get("arguments"), dict) and tables.get("reader") in READERS:
            return {**tables, "arguments": READERS[tables["reader"]].model_validate(tables["arguments"])}
        return tables

    @field_validator("name")
    @classmethod
    def _name_may_be_a_folder(cls, value: str) -> str:
        return _checked_name(value, "name")

    @model_validator(mode="after")
    def _check_consistency(self) -> DatasetCard:
        for split in self.splits:
            _checked_name(split, "split name")
        if self.reference not in self.splits:
            raise ValueError(f'reference is "{self.reference}"; expected one of the splits {", ".join(self.splits)}')
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min is {self.sigma_min:g}; expected less than sigma_max = {self.sigma_max:g}")
        sources = [split.source or name for name, split in self.splits.items()]
        if len(set(sources)) < len(sources):
            raise ValueError("two splits have the same source; expected different images in each")

        self._check_latent()
        self._check_variants()
        self.arguments.check(self.channels * self.resolution**2)
        return self

    def _check_latent(self) -> None:
        """Refuse latents that no decoder makes pictures of, since it doubles sides, and those of exact networks."""
        if self.latent is None:
            return
        side = self.latent.resolution
        if self.resolution % side or (self.resolution // side).bit_count() != 1:
            raise ValueError(f"latent.resolution is {side}; expected {self.resolution} halved some times")
        if self.arguments.distribution():
            raise ValueError(
                "a synthetic data set has a [latent] table; expected none, its distribution is of pictures"
            )

    def _check_variants(self) -> None:
        for name, variant in self.variants.items():
            if _checked_name(name, "variant name") in _OWN_VARIANTS:
                raise ValueError(f'a variant is called "{name}"; expected another name, because this one has a meaning')
            for split in variant.sha256:
                if split not in self.splits:
                    raise ValueError(f'variant "{name}" names the split "{split}"{did_you_mean(split, self.splits)}')

    @property
    def training_split(self) -> str:
        """Return the split that networks and methods learn from: `train`, or the reference where there is none."""
        return "train" if "train" in self.splits else self.reference

    def shape(self) -> DataShape:
        """Return what a network must know: the shape of a state and, for synthetic data, the distribution."""
        of = self.latent or self
        return DataShape(of.channels, of.resolution, dict(self.arguments.distribution()))

    def check_trains(self) -> None:
        """Raise UsageError where no network can be trained: pictures are read, and no encoder makes states of them."""
        if self.latent is not None:
            raise UsageError(
                f'the states of "{self.name}" are latents, and nothing here encodes its pictures, so networks cannot '
                "be trained on it; give them weights as networks.NAME.weights, or name an imported card"
            )

    def wanted_split(self, split: str) -> WantedSplit:
        """Return the request for a split that a reader takes; UsageError if the card has no such split."""
        if split not in self.splits:
            raise UsageError(f'data set "{self.name}" has no split "{split}"{did_you_mean(split, self.splits)}')
        card = self.splits[split]
        side, labels = self.resolution, self.labels
        return WantedSplit(self.name, split, card.source, card.n, self.channels, side, labels, self.obtain)

    def spec(
        self,
        pixels: str = "absent",
        training_pixels: str = "absent",
        variant: str = "",
        found: Mapping[str, int] | None = None,
    ) -> DataSpec:
        """Return what decides a result, as Specs of tasks hold it.

        The source of the pixels is left out: `load_split` gives their fingerprint and variant, and the numbers of
        images `found` by split.
        """
        stated = {name: split.n for name, split in self.splits.items() if split.n is not None}

        return DataSpec(
            name=self.name,
            channels=self.channels,
            resolution=self.resolution,
            latent=self.latent,
            labels=self.labels,
            splits={**(found or {}), **stated},
            training=self.training_split,
            reference=self.reference,
            pixels=pixels,
            training_pixels=training_pixels,
            variant=variant,
            distribution=dict(self.arguments.distribution()),
        )


def card_names() -> list[str]:
    """Return the names of all cards in the searched folders."""
    found = {path.stem for folder in _folders() for path in folder.glob("*.toml") if path.is_file()}
    return sorted(name for name in found if _is_name(name))


def load_card(name_or_path: str) -> DatasetCard:
    """Return a card by its name, or by the path of its file if that ends in ".toml"."""
    path = _find(name_or_path)
    tables = read_toml(path)
    where = f"card {path}"
    name = tables.get("reader")
    if not isinstance(name, str) or name not in READERS:
        raise UsageError(f"{where}: reader is {name!r}{did_you_mean(str(name), READERS)}")

    arguments = tables.get("arguments", {})
    reader = validated(READERS[name], _located(arguments, READERS[name], path), f"{where}, [arguments]")
    card = validated(DatasetCard, {**tables, "arguments": reader}, where)
    if card.name != path.stem:
        raise UsageError(f'{where}: name is "{card.name}"; expected "{path.stem}" like the file, so rename one of them')
    return card


def own_cards_folder() -> Path | None:
    """Return the folder in which a user's own cards are found by name, or None if there is none yet."""
    first = _folders()[0]
    return first if first.is_dir() else None


def _find(name_or_path: str) -> Path:
    if name_or_path.endswith(".toml") and "\0" not in name_or_path:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise UsageError(f"found no card file {name_or_path}; expected a TOML file, so check the path")
        return path.resolve()
    name = check_name(name_or_path, "data set name")
    for folder in _folders():
        path = folder / f"{name}.toml"
        if path.is_file():
            return path.resolve()
    raise UsageError(f'found no card of the data set "{name}"{did_you_mean(name, card_names())}')


def _folders() -> list[Path]:
    """Return the searched folders, in order."""
    folders = [Path("datasets"), _SHIPPED]
    own = os.environ.get(CARDS_SETTING)
    if own:
        folder = Path(own).expanduser()
        if not folder.is_dir():
            raise UsageError(f"{CARDS_SETTING} is {own!r}; expected a folder of cards, so correct or unset it")
        folders.insert(0, folder)
    return folders


def _located(arguments: Any, reader: type[Reader], card: Path) -> Any:
    """Return the arguments with the folder they name made absolute; a relative one starts at the card's own folder."""
    if not isinstance(arguments, dict) or not isinstance(arguments.get(reader.folder_argument), str):
        return arguments
    place = Path(arguments[str(reader.folder_argument)]).expanduser()
    return {**arguments, str(reader.folder_argument): str(card.parent / place)}


def _checked_name(name: str, field: str) -> str:
    """Return a name that may stand in paths; a ValueError, as pydantic wants it, if it may not."""
    try:
        return check_name(name, field)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _is_name(name: str) -> bool:
    try:
        return bool(check_name(name, "data set name"))
    except UsageError:
        return False
