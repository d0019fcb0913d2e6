"""What a site is made of: folders that were given, and the results of one suite, joined from all that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pandas import DataFrame

from harness.report.analysis.comparisons import Comparison, find_comparisons
from harness.report.analysis.derive import Analysis, derive
from harness.report.facts import ClaimFacts, MethodFacts
from harness.report.leaderboard import Leaderboard, build_leaderboard
from harness.report.leaderboard_text import to_csv
from harness.report.web.page_rows import page_rows
from harness.report.web.sample_files import strip_addresses
from harness.schema import TABLES, arrow_schema


@dataclass(frozen=True)
class SiteSource:
    """A results folder that was given: its name on the pages, and how many rows it brought."""

    name: str
    suites: tuple[str, ...] = ()
    rows: int = 0
    reason: str = ""
    """Why it was refused; empty where it was taken."""


@dataclass(frozen=True)
class SiteGroup:
    """The results of one suite, or of several that share folders."""

    name: str
    tables: Mapping[str, DataFrame]
    """Every stored table by name, each trial once."""
    facts: Sequence[MethodFacts] = ()
    claims: Sequence[ClaimFacts] = ()
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Sample pictures by trial_id, uint8 [n, channels, height, width]."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """By trial_id, the name of the folder that a row is from."""

    @cached_property
    def analysis(self) -> Analysis:
        """Return what follows from the tables, by the rules of every report."""
        return derive(self.tables, self.facts, self.claims)

    @cached_property
    def pairs(self) -> Sequence[Comparison]:
        """Return rows with their controls and whole networks."""
        return find_comparisons(self.analysis)

    @cached_property
    def board(self) -> Leaderboard:
        """Return the leaderboard."""
        return build_leaderboard(self.analysis, self.pairs)

    @cached_property
    def rows(self) -> DataFrame:
        """Return every row that has a page, by trial_id, as `page_rows`."""
        return page_rows(self.analysis)

    @cached_property
    def strips(self) -> dict[str, str]:
        """Return the addresses of strips of sample pictures by row; a mean row has those of its first trial."""
        found = strip_addresses(self.pictures)
        members = self.analysis.members[["row_id", "trial_id"]].itertuples(index=False)
        for row_id, trial_id in members:
            if trial_id in found:
                found.setdefault(str(row_id), found[trial_id])
        return found

    def downloads(self) -> dict[str, bytes]:
        """Return the tables as Parquet, and the leaderboard with what was derived as CSV, by file name."""
        files = {f"{name}.parquet": _parquet(name, table) for name, table in self.tables.items() if len(table)}
        return {**files, "leaderboard.csv": to_csv(self.board).encode()}


def _parquet(name: str, table: DataFrame) -> bytes:
    """Return a table as one Parquet file, sentences on its columns as metadata."""
    schema = arrow_schema(name)
    own = table.sort_values(["trial_id", "attempt", *TABLES[name].order], kind="stable")
    content = pa.Table.from_pandas(own.reindex(columns=schema.names), schema=schema, preserve_index=False)
    sink = pa.BufferOutputStream()
    pq.write_table(content.replace_schema_metadata(schema.metadata), sink, compression="zstd")
    return sink.getvalue().to_pybytes()
