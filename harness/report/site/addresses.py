"""Where the pages of a site lie: relative paths made of names that others chose, safe in any file system."""

from __future__ import annotations

import re
from collections.abc import Iterable

FRONT, SUBMIT = "index.html", "submit.html"
_LONGEST = 80  # characters of a file name, without its ending
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = ("index", "con", "nul", "aux", "prn")
"""Names of our own pages, and names that some systems refuse."""


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return a file name for each name: letters, digits, dots and dashes, no two alike where case does not count."""
    found: dict[str, str] = {}
    taken = set(_RESERVED)
    for name in sorted(set(names)):
        plain = _UNSAFE.sub("-", name).strip(".-")[:_LONGEST] or "unnamed"
        free, count = plain, 1
        while free.casefold() in taken:
            count += 1
            free = f"{plain}-{count}"
        taken.add(free.casefold())
        found[name] = free
    return found


def board_address(dataset: str, network: str = "index") -> str:
    """Return the page of a data set, or of one network on it, by their file names."""
    return f"boards/{dataset}/{network}.html"


def row_address(group: str, trial_id: str) -> str:
    """Return the page of a row by its group's file name and its id."""
    return f"rows/{group}/{trial_id}.html"


def table_address(group: str, file: str) -> str:
    """Return where a download lies."""
    return f"tables/{group}/{file}"


def root_of(address: str) -> str:
    """Return the way from a page back to the site's root: nothing, or some "../"."""
    return "../" * address.count("/")
