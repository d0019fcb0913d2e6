"""The content of a results folder at one moment. Only whole attempts count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import StoreDamagedError, UsageError, did_you_mean
from harness.schema import TABLES, arrow_schema
from harness.storage.commit_log import Entry, OtherVersionError, Part, decode_entry, entry_name, log_files
from harness.storage.disk import WrongSizeError, read_regular
from harness.storage.parquet_parts import decode
from harness.storage.problems import Problem

if TYPE_CHECKING:
    import pandas as pd


class Snapshot:
    """The committed attempts of a results folder.

    An attempt with a damaged part is left out; `damage` names it.
    """

    def __init__(self, folder: Path, before: Snapshot | None = None) -> None:
        """Read the folder; whole attempts of an earlier snapshot are not read again."""
        self.folder = folder.resolve()
        self._damage: list[Problem] = []
        self._known = {} if before is None else before._by_file()
        self._entries = sorted(self._read_entries())
        self._contents = [(entry, parts) for entry in self._entries if (parts := self._verified(entry)) is not None]

    @property
    def entries(self) -> list[Entry]:
        """Return the readable log entries, by trial and attempt."""
        return self._entries

    @property
    def damage(self) -> list[Problem]:
        """Return what was left out: unreadable entries, and parts that are missing or altered."""
        self._attempts  # noqa: B018  (decodes the rows too)
        return self._damage

    def finished(self) -> dict[str, str]:
        """Return verdicts of the trials whose last intact attempt finished, by trial id."""
        entries = [entry for entry, _ in self.latest_attempts()]
        return {entry.trial_id: entry.verdict for entry in entries if entry.status == "finished"}

    def latest_attempts(self) -> list[tuple[Entry, list[tuple[Part, bytes]]]]:
        """Return the last intact attempt of each trial, with the bytes of its parts, by trial."""
        last = {entry.trial_id: (entry, parts) for entry, parts in self._contents}
        return list(last.values())

    def read(self, table: str) -> pd.DataFrame:
        """Return a table's committed rows."""
        if table not in TABLES:
            raise UsageError(f'found the table "{table}"{did_you_mean(table, TABLES)}')
        import pandas as pd

        parts = [content for _, tables in self._attempts for name, content in tables if name == table]
        types = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        return pa.concat_tables([arrow_schema(table).empty_table(), *parts]).to_pandas(types_mapper=types.get)

    def latest(self) -> pd.DataFrame:
        """Return the accepted rows: for each trial that of its last intact attempt."""
        return self.read("trials").drop_duplicates("trial_id", keep="last", ignore_index=True)

    @cached_property
    def _attempts(self) -> list[tuple[Entry, list[tuple[str, pa.Table]]]]:
        """Return the attempts all of whose parts hold the rows that the log names."""
        decoded = ((entry, self._decoded(entry, parts)) for entry, parts in self._contents)
        return [(entry, tables) for entry, tables in decoded if tables is not None]

    def _by_file(self) -> dict[str, _Attempt]:
        """Return all whole attempts by the name of their log entry."""
        tables = dict(self._attempts)
        return {
            entry_name(entry.trial_id, entry.attempt): _Attempt(entry, parts, tables[entry])
            for entry, parts in self._contents
            if entry in tables
        }

    def _known_attempt(self, entry: Entry) -> _Attempt | None:
        known = self._known.get(entry_name(entry.trial_id, entry.attempt))
        return known if known is not None and known.entry == entry else None

    def _read_entries(self) -> Iterator[Entry]:
        for path in log_files(self.folder):
            if path.name in self._known:
                yield self._known[path.name].entry
                continue
            try:
                yield decode_entry(path.name, read_regular(path))
            except OtherVersionError as error:
                self._add_damage("version", path, str(error))
            except (StoreDamagedError, OSError) as error:
                self._add_damage("entry", path, str(error))

    def _verified(self, entry: Entry) -> list[tuple[Part, bytes]] | None:
        """Return the bytes of an attempt's parts; None if one differs from the log."""
        if known := self._known_attempt(entry):
            return known.parts
        contents = [(part, self._bytes(part)) for part in entry.parts]
        found = [(part, data) for part, data in contents if data is not None]
        return found if len(found) == len(contents) else None

    def _bytes(self, part: Part) -> bytes | None:
        path = self.folder / part.table / part.name
        try:
            data = read_regular(path, part.bytes)
        except FileNotFoundError:
            self._add_damage("missing", path, "the log names it, it is not there")
        except WrongSizeError as error:
            self._add_damage("altered", path, f"{error.found} bytes long; the log says {part.bytes}")
        except OSError as error:
            self._add_damage("altered", path, f"cannot be read as a regular file ({error.strerror})")
        else:
            if hashlib.sha256(data).hexdigest() == part.sha256:
                return data
            self._add_damage("altered", path, "its SHA-256 is not the one in the log")
        return None

    def _decoded(self, entry: Entry, parts: list[tuple[Part, bytes]]) -> list[tuple[str, pa.Table]] | None:
        if known := self._known_attempt(entry):
            return known.tables
        found = []
        for part, data in parts:
            try:
                content = decode(part.table, data)
                _check_rows(content, entry, part)
            except StoreDamagedError as error:
                self._add_damage("altered", self.folder / part.table / part.name, str(error))
            else:
                found.append((part.table, content))
        return found if len(found) == len(parts) else None

    def _add_damage(self, kind: str, path: Path, reason: str) -> None:
        self._damage.append(Problem(kind, str(path.relative_to(self.folder)), reason))


@dataclass(frozen=True)
class _Attempt:
    """A whole attempt: its log entry, the bytes of its parts, and their rows by table."""

    entry: Entry
    parts: list[tuple[Part, bytes]]
    tables: list[tuple[str, pa.Table]]


def _check_rows(content: pa.Table, entry: Entry, part: Part) -> None:
    """Raise StoreDamagedError unless a part holds the number of rows in the log, all its own."""
    if len(content) != part.rows:
        raise StoreDamagedError(f"{len(content)} rows; the log says {part.rows}")
    for column, own in (("trial_id", entry.trial_id), ("attempt", entry.attempt)):
        others = content[column].filter(pc.fill_null(pc.not_equal(content[column], own), True))
        if len(others):
            raise StoreDamagedError(f"a row says {column} {others[0].as_py()}; the log says {own}")
