"""Which files below a folder are pictures that are read, and which are passed over, each with the reason."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ENDINGS = (".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Of the files that are read, in small letters."""
_DEAD_LINK = "a link that leads nowhere"
_LOOP = "a link to a folder above it"
_UNREADABLE = "a folder that cannot be opened"
_HIDDEN = "hidden"


@dataclass(frozen=True)
class PictureFiles:
    """Picture files below a folder, sorted by the parts of their relative path, and how many others there are."""

    folder: Path
    files: tuple[Path, ...]
    passed_over: Mapping[str, int]
    """How many files were passed over, by reason."""

    def describe_passed_over(self) -> str:
        """Return one sentence: how many files were passed over and why; "" if none was."""
        if not self.passed_over:
            return ""
        n = sum(self.passed_over.values())
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.passed_over.items()))
        return (
            f"{self.folder}: passed over {n:,} of {n + len(self.files):,} files ({reasons}); pictures that are read "
            f"end in {', '.join(ENDINGS)}"
        )


def find_pictures(folder: Path) -> PictureFiles:
    """Return the picture files below a folder; links to folders are followed, hidden files are passed over."""
    files: list[Path] = []
    passed_over: Counter[str] = Counter()
    for path, fault in walk_files(folder):
        reason = _reason(path.relative_to(folder), fault)
        if reason:
            passed_over[reason] += 1
        else:
            files.append(path)
    return PictureFiles(folder, tuple(sorted(files, key=lambda file: file.relative_to(folder).parts)), passed_over)


def walk_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, "") of every file below a folder, and (path, why) of what cannot be entered; follows links."""
    yield from _walk(folder, frozenset())


def _walk(folder: Path, above: frozenset[str]) -> Iterator[tuple[Path, str]]:
    """Yield what is below a folder that was reached through the real folders `above`."""
    real = os.path.realpath(folder)
    if real in above:
        yield folder, _LOOP
        return

    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder, _UNREADABLE
        return

    for entry in entries:
        path = folder / entry.name
        if entry.is_dir():
            yield from _walk(path, above | {real})
        elif entry.is_file():
            yield path, ""
        elif entry.is_symlink():
            yield path, _DEAD_LINK


def _reason(relative: Path, fault: str) -> str:
    """Return why a file is passed over; "" for a picture."""
    if any(part.startswith(".") for part in relative.parts):
        return _HIDDEN
    if fault or relative.suffix.lower() in ENDINGS:
        return fault
    return f"that end in {relative.suffix.lower()}" if relative.suffix else "without an ending"
