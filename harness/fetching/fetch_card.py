"""Cards of what `oneclock fetch` brings: where files are published, and what is known of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from harness.config.toml_files import read_toml, validated
from harness.errors import UsageError, did_you_mean
from harness.identity import check_name
from harness.specs.base import Closed

CARDS = Path(__file__).resolve().parent / "cards"
Kind = Literal["data set", "feature network", "statistics", "network", "decoder"]


class FetchFile(Closed):
    """One published file. What no source states is left out, and not guessed."""

    name: str
    """Its name here, which is that of the source."""
    url: Annotated[str, Field(pattern="^https?://")]
    size: PositiveInt | None = None
    """Bytes, where the source states the exact number."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Where a source states it; without it the first fetch pins what came."""
    sha256_starts: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")] | None = None
    """The first digits, as publishers put them into the names of files of weights."""
    unpack: bool = False
    """Whether it is a tar or zip archive whose content is kept in its place."""

    @field_validator("name")
    @classmethod
    def _is_a_plain_name(cls, name: str) -> str:
        if name in ("", ".", "..") or PurePosixPath(name).name != name or "\\" in name or "\0" in name:
            raise ValueError(f"name is {name!r}; expected the name of a file, without a folder")
        return name


class FetchCard(Closed):
    """What comes by one name, and what it is for."""

    name: str
    title: str
    kind: Kind
    licence: str
    source: str
    """Where the addresses, sizes and digests of this card are stated."""
    files: Annotated[list[FetchFile], Field(min_length=1)]
    extractor: str | None = None
    """The feature network whose weights the one file holds."""
    folder: str | None = None
    """Of a data set: its folder below ONECLOCK_DATA, as its card names it."""
    imported: str | None = None
    """The name that `oneclock import network` gives to it."""
    then: str = ""
    """The command that makes it usable in a suite."""

    @model_validator(mode="after")
    def _check_consistency(self) -> FetchCard:
        if any(file.unpack for file in self.files) and len(self.files) > 1:
            raise ValueError("an archive stands among other files; expected it alone, since it is the whole folder")
        if (self.kind == "data set") != (self.folder is not None):
            raise ValueError("folder is for data sets alone, and each of them needs it")
        if self.folder is not None:
            check_name(self.folder, "folder")
        return self


def fetch_names() -> list[str]:
    """Return the names of all cards, sorted."""
    return sorted(path.stem for path in CARDS.glob("*.toml"))


def load_fetch_card(name: str) -> FetchCard:
    """Return a card by its name; UsageError for one that is unknown."""
    if name not in fetch_names():
        raise UsageError(f'nothing to fetch is called "{name}"{did_you_mean(name, fetch_names())}')
    path = CARDS / f"{name}.toml"
    card = validated(FetchCard, read_toml(path), f"card {path}")
    if card.name != name:
        raise UsageError(f'card {path}: name is "{card.name}"; expected "{name}" like the file, so rename one of them')
    return card


@cache
def _read_cards(folder: Path) -> tuple[FetchCard, ...]:
    return tuple(load_fetch_card(name) for name in fetch_names())


def fetch_cards() -> tuple[FetchCard, ...]:
    """Return all cards in the order of their names; each file is read once per process."""
    return _read_cards(CARDS)
