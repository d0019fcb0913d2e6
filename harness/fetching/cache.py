"""The folder of fetched files, and the digests that were pinned when a file first came."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tomli_w
from pydantic import Field

from harness.config.toml_files import read_toml, validated
from harness.errors import UsageError, check_folder
from harness.fetching.fetch_card import FetchCard, FetchFile
from harness.specs.base import Closed
from harness.storage.disk import replace

CACHE_SETTING = "ONECLOCK_CACHE"
_PINS = "pins.toml"
_PARTIAL = "partial"
_DATA = "data"


class Pin(Closed):
    """What came at the first fetch of a file: SHA-256, bytes and address."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int
    url: str


class _Pins(Closed):
    files: dict[str, Pin] = Field(default_factory=dict)


def cache_folder() -> Path:
    """Return the folder of fetched files: ONECLOCK_CACHE, else oneclock/ in the user's folder of caches."""
    own = os.environ.get(CACHE_SETTING)
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "oneclock"


def data_cache() -> Path:
    """Return the folder that holds a folder per fetched data set, as ONECLOCK_DATA does."""
    return cache_folder() / _DATA


def place_of_card(card: FetchCard) -> Path:
    """Return the folder of what a card brings."""
    return data_cache() / card.folder if card.folder is not None else cache_folder() / "files" / card.name


def place_of_file(card: FetchCard, file: FetchFile) -> Path:
    """Return where a file is once it has come; for an archive, the folder of its content."""
    return place_of_card(card) if file.unpack else place_of_card(card) / file.name


def is_fetched(card: FetchCard) -> bool:
    """Tell whether all that a card brings is in the cache."""
    return all(place_of_file(card, file).exists() for file in card.files)


def partial_place(card: FetchCard, file: FetchFile) -> Path:
    """Return where a file grows; it gets its final name once it is whole and verified."""
    return cache_folder() / _PARTIAL / card.name / file.name


def make_folder(folder: Path) -> None:
    """Make a folder of the cache; UsageError where that is not possible."""
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made ({error.strerror}); set {CACHE_SETTING} to a folder that can be written"
        ) from None


def read_pin(card: FetchCard, file: FetchFile) -> Pin | None:
    """Return what was pinned of a file, None where it never came."""
    return _read_pins().files.get(_key(card, file))


def write_pin(card: FetchCard, file: FetchFile, pin: Pin) -> None:
    """Keep what came of a file; other pins stay as they are."""
    make_folder(cache_folder())
    with _pins_locked():
        pins = {**_read_pins().files, _key(card, file): pin}
        text = tomli_w.dumps({"files": {key: pins[key].model_dump() for key in sorted(pins)}})
        replace(pins_file(), text.encode())


def pins_file() -> Path:
    """Return the file of all pins."""
    return cache_folder() / _PINS


def _read_pins() -> _Pins:
    path = pins_file()
    return validated(_Pins, read_toml(path), str(path)) if path.is_file() else _Pins()


@contextmanager
def _pins_locked() -> Iterator[None]:
    """Let one process at a time change the pins; waits for the other, which takes milliseconds."""
    with (cache_folder() / f".{_PINS}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _key(card: FetchCard, file: FetchFile) -> str:
    return f"{card.name}/{file.name}"
