"""Errors that a person can act on: one sentence (found, expected, what to do) and an exit code."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LISTED = 24  # names that one sentence can hold


class HarnessError(Exception):
    """Base of all expected failures; the command line prints the sentence without a traceback."""

    exit_code = 1


class UsageError(HarnessError):
    """The request is malformed or contradicts itself; the user can mend it."""

    exit_code = 2


class DataAbsentError(UsageError):
    """The images of a data set are not on this machine; a plan can be made without them."""


class UnstorableError(UsageError):
    """A value that tables and files cannot hold, such as a number that is not finite."""


class LockedError(HarnessError):
    """Another run holds the results folder."""

    exit_code = 3


class StoreDamagedError(HarnessError):
    """A committed part is missing, torn or altered."""

    exit_code = 4


class StorageFullError(HarnessError):
    """The storage under the results folder is full or refuses writes for lack of space."""

    exit_code = 5


class Terminated(SystemExit):
    """A signal ends this process; unlike the exit() of a plug-in, it must not be caught."""


def expected_kinds() -> frozenset[str]:
    """Return the names of all errors whose sentence says what to do."""
    found, kinds = set[str](), [HarnessError]
    while kinds:
        kind = kinds.pop()
        found.add(kind.__name__)
        kinds += kind.__subclasses__()
    return frozenset(found)


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put the place of a mistake, such as a file and an entry, before the sentence of a UsageError."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def check_folder(path: Path) -> None:
    """Raise UsageError where a file stands in the place of a folder or of one above it; nothing need be there."""
    for place in (path, *path.parents):
        if place.is_dir():
            return
        if place.exists():
            raise UsageError(f"{path} cannot be a folder: {place} is a file; expected a folder, or a new name")


def place_of(error: BaseException) -> str:
    """Return ` (FILE, line N)` of the innermost code outside this program and its libraries, "" where there is none."""
    own, place = Path(__file__).parent, ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if own not in path.parents and not {"site-packages", "dist-packages"} & set(path.parts) and path.is_file():
            place = f" ({path.name}, line {frame.lineno})"
    return place


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` for the nearest known name, or a list of names when none is near."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    listed = ", ".join(choices[:_LISTED])
    more = f" and {len(choices) - _LISTED} more" if len(choices) > _LISTED else ""
    return f"; known: {listed}{more}" if choices else "; none is known"
