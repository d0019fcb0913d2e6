"""What every reader is: typed arguments, and a function that gives the decoded pixels of one split."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from harness.errors import UsageError

DATA_SETTING = "ONECLOCK_DATA"


@dataclass(frozen=True)
class Target:
    """The split that is wanted: whose, how many images, what size, and where to get the data if it is not there."""

    dataset: str
    split: str
    source: str | None
    n: int
    channels: int
    resolution: int
    labels: int = 0
    obtain: str = ""

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width)."""
        return (self.channels, self.resolution, self.resolution)

    def refuse(self, found: str, expected: str, remedy: str) -> UsageError:
        """Return the error whose one sentence names data set and split."""
        return UsageError(f'data set "{self.dataset}", split "{self.split}": {found}; expected {expected}; {remedy}')

    def missing(self, found: str, setting: str, folder: str | None = None) -> UsageError:
        """Return the error of data that are not there; `setting` names the argument of the card that points to them.

        `folder` is the data set's folder below ONECLOCK_DATA where it is not called like the data set.
        """
        remedy = (
            f"set {DATA_SETTING} to the folder that holds {folder or self.dataset}/, "
            f"or give `{setting}` under [arguments] of the card"
        )
        return self.refuse(found, "the data there", f"{remedy} ({self.obtain})" if self.obtain else remedy)

    def allocate(self, found: int) -> np.ndarray:
        """Return room for the images, uint8 [n, channels, height, width], once the count found is the one stated."""
        if found != self.n:
            raise self.refuse(
                f"found {found:,} images", f"{self.n:,}", f"complete the data, or state n = {found} in the card"
            )
        return np.empty((self.n, *self.pixel_shape), dtype=np.uint8)

    def rows(self) -> tuple[int, int]:
        """Return (start, stop) of a source "start:stop" that spans exactly n rows."""
        parts = (self.source or "").split(":")
        if len(parts) == 2 and all(part.isdecimal() for part in parts):
            start, stop = map(int, parts)
            if stop - start == self.n:
                return start, stop
        raise self.refuse(
            f"source is {self.source!r}", f'"start:stop" spanning the n = {self.n} rows', "correct it in the card"
        )


@dataclass(frozen=True)
class Pixels:
    """What a reader gives: images uint8 [n, channels, height, width], and labels int64 [n] where there are any."""

    images: np.ndarray
    labels: np.ndarray | None


class Reader(BaseModel):
    """The [arguments] of a card for one kind of source, and how to read it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    location: ClassVar[str | None] = None  # the argument that holds a folder, if there is one

    @abstractmethod
    def read(self, target: Target) -> Pixels:
        """Return the decoded images and labels of one split, in an order that does not depend on the machine."""

    def stamp(self, target: Target) -> tuple[tuple[str, int, int], ...]:
        """Return path, size and time of change of every file below the data's folder; nothing where there is none.

        Two equal stamps mean the same pixels; a split that was read under another stamp is read again.
        """
        if self.location is None:
            return ()
        given, below = getattr(self, self.location), getattr(self, "folder", None)
        folder = data_folder(target, given, self.location, below=below, must_exist=False)
        found = []
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                known = path.stat()
                found.append((str(path), known.st_size, known.st_mtime_ns))
        return tuple(found)

    def check(self, values: int) -> None:
        """Raise ValueError if the arguments do not fit images of so many values (channels x height x width)."""

    def facts(self) -> Mapping[str, Any]:
        """Return what a network may know beyond the shape: the distribution itself, where it is synthetic."""
        return {}


def data_folder(
    target: Target, given: str | None, setting: str, *, below: str | None = None, must_exist: bool = True
) -> Path:
    """Return the folder of a data set: `given` if the card has it, else one below ONECLOCK_DATA.

    That is `below` where the card names it, else the one that is called like the data set.
    """
    if given is not None:
        folder = Path(given).expanduser()
    elif os.environ.get(DATA_SETTING):
        folder = Path(os.environ[DATA_SETTING]).expanduser() / (below or target.dataset)
    else:
        raise target.missing(f"neither {DATA_SETTING} nor `{setting}` is set", setting, below)
    if must_exist and not folder.is_dir():
        raise target.missing(f"found no folder {folder}", setting, below)
    return folder


def stays_below(path: str) -> bool:
    """Return whether a path is relative and leads nowhere above the folder that it starts from."""
    return bool(path) and "\0" not in path and not Path(path).is_absolute() and ".." not in Path(path).parts


def inside(target: Target, source: str) -> str:
    """Return a source that is relative and stays below the data set's folder; refuse any other."""
    if not stays_below(source):
        raise target.refuse(
            f"source is {source!r}", "a relative path below the data set's folder", "correct it in the card"
        )
    return source
