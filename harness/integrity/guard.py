"""Two looks at a process, before and after a method's code runs: what changed is restored and named."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from harness.errors import HarnessError
from harness.integrity.changes import Undone, find_changes, sealed_functions, undo
from harness.integrity.fresh_modules import altered_functions
from harness.integrity.leftovers import child_processes, left_processes, left_threads, running_threads
from harness.integrity.settings import changed_settings, made_by, read_settings, watched_settings
from harness.integrity.snapshot import NamesSnapshot

_MOST_NAMED = 3
"""So many changes are named in a sentence; the others are counted."""


class TamperedError(HarnessError):
    """A method changed code or settings that decide, or left something running."""


@dataclass
class Tampering:
    """What was changed and is restored: what was done, which modules did it, and what could not be restored."""

    deeds: list[str] = field(default_factory=list)
    makers: set[str] = field(default_factory=set)
    kept: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.deeds)

    def sentence(self, who: str) -> str:
        """Return one sentence about what `who` did."""
        named = ", ".join(self.deeds[:_MOST_NAMED])
        more = len(self.deeds) - _MOST_NAMED
        kept = f"; {', '.join(self.kept[:_MOST_NAMED])} could not be restored" if self.kept else ""
        return f"{who} {named}{f' and did {more} more such things' if more > 0 else ''}{kept}"

    def note(self, undone: Undone, verb: str = "changed") -> None:
        """Note what was done and whether it is restored."""
        self.deeds.append(f"{verb} {undone.name}")
        self.makers.add(made_by(undone.found))
        if not undone.is_restored:
            self.kept.append(undone.name)


@dataclass(frozen=True)
class Before:
    """What settings, threads and processes were at one time."""

    settings: list[Any]
    threads: frozenset[int]
    processes: frozenset[tuple[int, float]]
    undo_names: Callable[[], list[Undone]]
    """Restores the names that decide and were changed since. Hold it while a method runs: it calls nothing by name."""


class Guard:
    """Watches this process. Not thread-safe: one thread runs methods' code."""

    def __init__(self) -> None:
        self._names = NamesSnapshot()
        self._settings = watched_settings()
        self._watched: list[tuple[str, dict[str, Any]]] = []
        self._names.grow()

    def watch_table(self, name: str, table: dict[str, Any]) -> None:
        """Watch the entries of a table from now on."""
        self._watched.append((name, table))
        self._names.add_container(name, table)

    def trust_loaded(self) -> None:
        """Watch what was loaded since the last look, as it is: no method's code ran meanwhile."""
        self._names.grow()

    def look(self) -> Before:
        """Look before a method's code runs. What was changed since the last look is not that method's, and stays."""
        self._names.grow()
        known = frozenset((change.name, id(change.found)) for change in find_changes(self._names.kept()))
        return self._look(known)

    def adopt(self) -> Before:
        """Look likewise, and take the names as they are now for those that decide."""
        self._names.grow()
        if find_changes(self._names.kept()):
            self._names = NamesSnapshot()
            self._names.grow()
            for name, table in self._watched:
                self._names.add_container(name, table)
        return self._look(frozenset())

    def _look(self, known: frozenset[tuple[str, int]]) -> Before:
        undo_names = partial(sealed_functions()["undo_changes"], self._names.kept(), known)
        return Before(read_settings(self._settings), running_threads(), child_processes(), undo_names)

    def restore_since(self, look: Before, undone: Iterable[Undone] = ()) -> Tampering:
        """Restore what is not as it was at a look, and return it with what was `undone` already.

        Threads and processes are ended.
        """
        found = Tampering()
        for one in (*undone, *look.undo_names()):
            found.note(one)
        for change in changed_settings(self._settings, look.settings):
            found.note(undo(change))
        for change in (*left_threads(look.threads), *left_processes(look.processes)):
            found.note(undo(change), "left the")

        # modules that were loaded meanwhile
        for name in self._names.grow():
            for change in altered_functions(sys.modules[name]):
                found.note(undo(change))
        return found

    @contextmanager
    def watching(self) -> Iterator[Tampering]:
        """Yield what the block changed, which is known and restored once the block has ended or raised."""
        look, found = self.look(), Tampering()
        try:
            yield found
        finally:
            after = self.restore_since(look)
            found.deeds, found.makers, found.kept = after.deeds, after.makers, after.kept


@cache
def process_guard() -> Guard:
    """Return the guard of this process; its first call is the first look, so make it before any method is imported."""
    return Guard()
