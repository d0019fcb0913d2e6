"""Tables of several results folders as one, in memory: of a trial that several have, the first finished row stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.runs.tables import Tables
from harness.storage.joining import describe_contradiction

if TYPE_CHECKING:
    import pandas as pd

_FINISHED = "finished"


@dataclass(frozen=True)
class JoinedTables:
    """The rows of several folders, each trial once."""

    by_name: Mapping[str, pd.DataFrame]
    folders: Mapping[str, Path]
    """By trial_id, the folder whose row stays."""
    conflicts: tuple[str, ...]
    """A sentence for each finished row that contradicts the one that stays."""


def join_tables(several: Sequence[Tables]) -> JoinedTables:
    """Return the planned rows of all folders; an earlier folder's row stays, a failed one gives way.

    The rules are those of `harness.storage.joining.join_folders`, but nothing is written.
    """
    rows, places, conflicts = dict[str, dict[str, Any]](), dict[str, int](), list[str]()
    for place, tables in enumerate(several):
        for row in tables.trials.to_dict("records"):
            trial_id, found = str(row["trial_id"]), {str(name): value for name, value in row.items()}
            there = rows.get(trial_id)

            if there is None or there["status"] != _FINISHED:
                rows[trial_id], places[trial_id] = found, place
            elif found["status"] == _FINISHED and (sentence := describe_contradiction(there, found)):
                conflicts.append(sentence)

    folders = {trial_id: several[place].folder for trial_id, place in places.items()}
    names = several[0].by_name if several else ()
    return JoinedTables({name: _join(name, several, places) for name in names}, folders, tuple(conflicts))


def group_by_suite(several: Sequence[Tables]) -> list[list[Tables]]:
    """Return folders in groups: those that share a suite, directly or through others, in the order given."""
    groups: list[tuple[set[str], list[int]]] = []
    for place, tables in enumerate(several):
        suites, members = set(map(str, tables.trials["suite"])), [place]
        apart = [one for one in groups if not one[0] & suites]
        for known, others in (one for one in groups if one[0] & suites):
            suites, members = suites | known, [*others, *members]
        groups = [*apart, (suites, members)]

    ordered = sorted(sorted(members) for _, members in groups)
    return [[several[place] for place in members] for members in ordered]


def _join(name: str, several: Sequence[Tables], places: Mapping[str, int]) -> pd.DataFrame:
    """Return a table's rows of the trials that stay, each from its own folder."""
    import pandas as pd

    kept = [
        table[table["trial_id"].map(places).eq(place)]
        for place, table in enumerate(tables.by_name[name] for tables in several)
    ]
    filled = [table for table in kept if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else several[0].by_name[name].iloc[:0]
