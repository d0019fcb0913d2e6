"""The base of all readers: typed arguments, and a method that returns the decoded pixels of one split."""

from __future__ import annotations

import math
import os
import tempfile
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
from pydantic import BaseModel, ConfigDict

from harness.data.disk_array import disk_array, disk_room, fits_memory
from harness.data.readers.picture_files import walk_files
from harness.errors import DataAbsentError, UsageError
from harness.fetching.lookup import find_data, offer_data

DATA_SETTING = "ONECLOCK_DATA"


@dataclass(frozen=True)
class WantedSplit:
    """The requested split: data set, number and size of images, and how to obtain missing data.

    `n` is None where the card leaves the number to what is found.
    """

    dataset: str
    split: str
    source: str | None
    n: int | None
    channels: int
    resolution: int
    labels: int = 0
    obtain: str = ""

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width)."""
        return (self.channels, self.resolution, self.resolution)

    def usage_error(self, found: str, expected: str, remedy: str) -> UsageError:
        """Return a UsageError that names data set and split."""
        return UsageError(f'data set "{self.dataset}", split "{self.split}": {found}; expected {expected}; {remedy}')

    def absent_error(self, found: str, expected: str, remedy: str) -> DataAbsentError:
        """Return the error of data that this machine does not have; it names data set and split."""
        return DataAbsentError(str(self.usage_error(found, expected, remedy)))

    def missing_error(self, found: str, argument: str, folder: str | None = None) -> DataAbsentError:
        """Return the error for missing data; `argument` is the card's argument for their folder.

        `folder` is the data set's folder below ONECLOCK_DATA where it is not called like the data set.
        """
        remedy = (
            f"set {DATA_SETTING} to the folder that holds {folder or self.dataset}/, "
            f"or give `{argument}` under [arguments] of the card"
        )
        remedy += offer_data(folder or self.dataset)
        return self.absent_error(found, "the data there", f"{remedy} ({self.obtain})" if self.obtain else remedy)

    def allocate(self, found: int, place: Path | None = None, passed_over: str = "") -> np.ndarray:
        """Return an empty array for the found images, uint8 [found, channels, height, width].

        It lies in a temporary file where it would take more than half of the free memory. UsageError if there are none,
        another number than the card states, or more than the disk holds; `place` is where they were found, and
        `passed_over` the sentence on files that are no images of it.
        """
        where = "" if place is None else f" in {place}"
        where += f" ({passed_over})" if passed_over else ""
        if found == 0 and self.n is None:
            raise self.usage_error(f"found no image{where}", "one or more", "put the images there")
        if self.n not in (None, found):
            raise self.usage_error(
                f"found {found:,} images{where}",
                f"{self.n:,}, as its card states",
                f"complete the data, or state n = {found} in the card, or leave n out",
            )
        if fits_memory(found * math.prod(self.pixel_shape)):
            return np.empty((found, *self.pixel_shape), dtype=np.uint8)
        return self._allocate_on_disk(found)

    def _allocate_on_disk(self, images: int) -> np.ndarray:
        """Return an empty array in a temporary file; UsageError where the disk has no room for it."""
        needed, room, folder = images * math.prod(self.pixel_shape), disk_room(), tempfile.gettempdir()
        try:
            if needed <= room:
                return disk_array((images, *self.pixel_shape), np.uint8)
        except OSError as error:  # full meanwhile
            folder = f"{folder} ({error.strerror})"
        free = psutil.virtual_memory().available
        raise self.usage_error(
            f"{images:,} images take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory and "
            f"{room / 1e9:.1f} GB of disk in {folder} are free",
            "half of the memory, or the disk, to hold them",
            "set TMPDIR to a folder with room, or use a larger machine, or a file of statistics as the suite's "
            "`reference`, which needs no pictures",
        )

    def rows(self) -> tuple[int, int]:
        """Return (start, stop) of a source "start:stop" that spans exactly n rows, one or more without n."""
        parts = (self.source or "").split(":")
        if len(parts) == 2 and all(part.isdecimal() for part in parts):
            start, stop = map(int, parts)
            if stop - start == self.n or (self.n is None and stop > start):
                return start, stop
        rows = "one or more rows" if self.n is None else f"the n = {self.n} rows"
        raise self.usage_error(f"source is {self.source!r}", f'"start:stop" spanning {rows}', "correct it in the card")


@dataclass(frozen=True)
class Pixels:
    """What a reader returns: images uint8 [n, channels, height, width], and labels int64 [n] where there are any."""

    images: np.ndarray
    labels: np.ndarray | None
    passed_over: str = ""
    """One sentence on files that were passed over; empty if none was."""


class Reader(BaseModel):
    """The [arguments] of a card for one kind of source, and how to read it. `load_split` calls it.

    `read` may block on the disk, and on the network where the source is there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    folder_argument: ClassVar[str | None] = None  # the argument that holds a folder, if there is one

    @abstractmethod
    def read(self, wanted: WantedSplit) -> Pixels:
        """Return the decoded images and labels of one split, in an order that does not depend on the machine."""

    def file_stamp(self, wanted: WantedSplit) -> tuple[tuple[str, int, int], ...]:
        """Return path, size and modification time of every file below the data's folder; empty without a folder.

        Two equal stamps mean the same pixels; a split that was read under another stamp is read again.
        """
        if self.folder_argument is None:
            return ()
        given, below = getattr(self, self.folder_argument), getattr(self, "folder", None)
        folder = data_folder(wanted, given, self.folder_argument, below=below, must_exist=False)

        found = []
        for path, fault in walk_files(folder) if folder.is_dir() else ():
            if not fault:
                known = path.stat()
                found.append((str(path), known.st_size, known.st_mtime_ns))
        return tuple(sorted(found))

    def check(self, values: int) -> None:
        """Raise ValueError if the arguments do not fit images of so many values (channels x height x width)."""

    def distribution(self) -> Mapping[str, Any]:
        """Return the distribution of synthetic data, which a network may know; empty for others."""
        return {}


def data_folder(
    wanted: WantedSplit, given: str | None, argument: str, *, below: str | None = None, must_exist: bool = True
) -> Path:
    """Return the folder of a data set: `given` if the card has it, else one below ONECLOCK_DATA.

    That is `below` where the card names it, else the one that is called like the data set. Where there is none,
    what was fetched is taken.
    """
    own, fetched = os.environ.get(DATA_SETTING), find_data(below or wanted.dataset)
    if given is not None:
        folder = Path(given).expanduser()
    elif own:
        folder = Path(own).expanduser() / (below or wanted.dataset)
        folder = fetched if fetched is not None and not folder.is_dir() else folder
    elif fetched is not None:
        folder = fetched
    else:
        raise wanted.missing_error(f"neither {DATA_SETTING} nor `{argument}` is set", argument, below)
    if must_exist and not folder.is_dir():
        raise wanted.missing_error(f"found no folder {folder}", argument, below)
    return folder


def whole_label(value: Any, where: str, wanted: WantedSplit) -> int:
    """Return the class number of an image; UsageError for anything but a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise wanted.usage_error(
            f"{where} has the label {value!r}"[:200],
            "a whole number",
            "correct `label`, or state labels = 0 in the card",
        )
    return int(value)


def stays_below(path: str) -> bool:
    """Return whether a path is relative and leads nowhere above the folder that it starts from."""
    return bool(path) and "\0" not in path and not Path(path).is_absolute() and ".." not in Path(path).parts


def check_one_place(path: str | None, folder: str | None) -> None:
    """Raise ValueError, as pydantic wants it, for a `folder` that leaves ONECLOCK_DATA, or one with a `path` too."""
    if folder is not None and not stays_below(folder):
        raise ValueError(f"folder is {folder!r}; expected a relative path below ONECLOCK_DATA")
    if folder is not None and path is not None:
        raise ValueError("folder and path are both given; expected one of them, so leave the other out")


def check_source(wanted: WantedSplit, source: str) -> str:
    """Return a source that is relative and stays below the data set's folder; UsageError for any other."""
    if not stays_below(source):
        raise wanted.usage_error(
            f"source is {source!r}", "a relative path below the data set's folder", "correct it in the card"
        )
    return source
