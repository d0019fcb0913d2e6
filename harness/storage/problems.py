"""Finds damaged and foreign files of a results folder; moves them aside, deletes none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StoreDamagedError, UsageError
from harness.schema import TABLES
from harness.storage.commit_log import Key, decode_entry, entry_name, log_files, part_attempt
from harness.storage.disk import is_temp, move, read_regular

_ATTEMPT = re.compile(r"([0-9a-f]{64})-([0-9]+)")

DAMAGE = ("missing", "altered", "entry", "version")  # kinds: committed results that cannot be read


@dataclass(frozen=True, order=True)
class Problem:
    """One problem: its kind is orphan, missing, altered, entry, version, foreign or temp."""

    kind: str
    path: str
    reason: str

    @property
    def is_damage(self) -> bool:
        """Tell whether a committed result cannot be read; the other kinds are left-overs."""
        return self.kind in DAMAGE

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {self.reason}"


def inspect(folder: Path, damage: Iterable[Problem]) -> list[Problem]:
    """Return the given damage and a problem for each file that no log entry names, by path."""
    found = list(damage)
    known = {problem.path for problem in found}
    named, other_version = _named(folder), {_key(p.path) for p in found if p.kind == "version"}

    # left-overs of writers, and foreign files
    for path in _files(folder):
        relative = str(path.relative_to(folder))
        if relative in known or relative in named:
            continue
        if is_temp(path.name):
            found.append(Problem("temp", relative, "left by a writer that was killed"))
        elif path.parent == folder:
            continue  # pages, plots and the log of runs
        elif path.is_symlink() or not path.is_file() or part_attempt(path.name) is None:
            found.append(Problem("foreign", relative, "not written by this program; never opened"))
        elif part_attempt(path.name) not in other_version:
            found.append(Problem("orphan", relative, "no log entry names it; it does not count"))

    return sorted(set(found), key=lambda problem: (problem.path, problem.kind, problem.reason))


def move_aside(folder: Path, target: Path, problems: Iterable[Problem]) -> None:
    """Move the files of problems, and whole attempts with a damaged part, to a folder."""
    problems = list(problems)
    attempts = {key for problem in problems if problem.is_damage and (key := _key(problem.path))}
    entries = [folder / "log" / entry_name(*key) for key in sorted(attempts)]
    parts = [path for path in _files(folder) if part_attempt(path.name) in attempts]
    for path in [*entries, *parts, *(folder / problem.path for problem in problems)]:
        if path.is_symlink() or path.exists():
            _move(path, target / path.relative_to(folder))


def _move(path: Path, target: Path) -> None:
    if target.parent.is_symlink():
        raise UsageError(f"{target.parent} is a symbolic link; expected a folder, remove the link")
    target.parent.mkdir(parents=True, exist_ok=True)
    free, count = target, 1
    while free.is_symlink() or free.exists():
        count += 1
        free = target.with_name(f"{target.name}.{count}")
    move(path, free)


def _files(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / "log", *(folder / table for table in TABLES)):
        if place.is_dir() and not (place != folder and place.is_symlink()):
            yield from sorted(place.iterdir())


def _named(folder: Path) -> set[str]:
    """Return the relative paths of the readable log entries and of all parts that they name."""
    names: set[str] = set()
    for path in log_files(folder):
        try:
            entry = decode_entry(path.name, read_regular(path))
        except (StoreDamagedError, OSError):
            continue
        names.add(f"log/{path.name}")
        names.update(f"{part.table}/{part.name}" for part in entry.parts)
    return names


def _key(path: str) -> Key | None:
    match = _ATTEMPT.match(Path(path).name)
    return (match[1], int(match[2])) if match else None
