"""A results folder as pandas tables, and the report that is built from them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreDamagedError, UsageError, check_folder, did_you_mean
from harness.schema import TABLES
from harness.storage.claim_records import read_claim_records
from harness.storage.disk import replace
from harness.storage.planned import read_planned, read_title
from harness.storage.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from harness.storage.snapshot import Snapshot

_SOURCE = Path(__file__).resolve().parents[1]
_WRITERS = ("*.py", "*.j2", "*.css", "*.js")
_LOG = logging.getLogger("oneclock.runs.tables")


@dataclass(frozen=True)
class Tables:
    """A results folder as pandas tables. `trials` holds the accepted rows of the latest plan."""

    folder: Path
    by_name: Mapping[str, pd.DataFrame]
    """Every table of `harness.schema.TABLES`; each is an attribute too, as `trials` and `steps`."""
    others: pd.DataFrame
    """Accepted rows outside the latest plan: of other code, settings or seeds."""
    damage: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    """Ids of the trials that the run which returned these tables had planned."""
    measured: int = 0
    """How many of them had no row before that run."""

    def __getattr__(self, name: str) -> pd.DataFrame:
        """Return a table by its name."""
        if name in TABLES:
            return self.by_name[name]
        raise AttributeError(f'there is no table "{name}"{did_you_mean(name, TABLES)}')

    @property
    def all_valid(self) -> bool:
        """Tell whether every planned trial has a VALID row."""
        valid = set(self.trials.loc[self.trials["verdict"] == "VALID", "trial_id"])
        return all(trial_id in valid for trial_id in self.planned)


def load(folder: str | Path) -> Tables:
    """Return the tables of a results folder; damaged parts are left out and named in `damage`.

    A folder without `planned.json`, as older ones are, shows every trial. UsageError if there is
    no such folder.
    """
    path = Path(folder)
    check_folder(path)
    if not path.is_dir():
        raise UsageError(f"results folder {folder} does not exist; run a suite first, for example `oneclock run quick`")
    return read_tables(Store(path).snapshot())


def read_tables(snapshot: Snapshot) -> Tables:
    """Return the tables of a snapshot; rows of its latest plan apart from the others."""
    trials = snapshot.latest()
    tables: Mapping[str, Any] = {name: snapshot.read(name) for name in TABLES if name != "trials"}
    planned = read_planned(snapshot.folder)
    in_plan = trials["trial_id"].isin(trials["trial_id"] if planned is None else planned)
    shown, others = trials[in_plan].reset_index(drop=True), trials[~in_plan].reset_index(drop=True)
    return Tables(snapshot.folder, {"trials": shown, **tables}, others, damage=tuple(map(str, snapshot.damage)))


def report(folder: str | Path) -> list[Path]:
    """Rebuild leaderboard, plots and pages from a folder's tables; return the written paths.

    StoreDamagedError if a committed part is damaged; the report is built without it before.
    """
    tables = load(folder)
    written = build_report_of(tables)
    raise_if_damaged(tables, folder)
    return written


def build_report_of(tables: Tables) -> list[Path]:
    from harness.planning.method_facts import collect_claims, collect_facts
    from harness.report.build import build_report

    title, claims = read_title(tables.folder), collect_claims(tables.folder.parent)
    return build_report(tables.folder, tables.by_name, tables.others, collect_facts(), title, claims)


def raise_if_damaged(tables: Tables, folder: str | Path) -> None:
    if tables.damage:
        raise StoreDamagedError(f"{tables.damage[0]}; the report was built without it; see `oneclock doctor {folder}`")


def refresh_report(tables: Tables) -> bool:
    """Rebuild the report unless it was built from exactly these entries, by this code; tell whether it was."""
    from harness.identity import content_hash
    from harness.report.live import MARK, PAGE

    # what it is made from, and what makes it
    folder = tables.folder
    writers = sorted(p for kind in _WRITERS for p in _SOURCE.rglob(kind))
    entries = sorted(p.name for p in (folder / "log").glob("*.json"))
    claims = read_claim_records(folder.parent)
    state = content_hash(
        [entries, claims, list(read_planned(folder) or ()), read_title(folder), [p.stat().st_mtime_ns for p in writers]]
    )

    mark, page = folder / MARK, folder / PAGE
    if mark.is_file() and not mark.is_symlink() and mark.read_text() == state and page.is_file():
        return False
    build_report_of(tables)
    replace(mark, state.encode())
    _LOG.debug("report: %s", page)
    return True
