"""A run in this process by a pool that counts what it starts, and questions to its tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import harness
from kit.toys import CountingPool


class Run:
    """A finished run: its tables, and what was started for it."""

    def __init__(self, suite: str, results: Path, pool: CountingPool | None = None, **options: object) -> None:
        self.pool = pool or CountingPool()
        self.tables = harness.run(suite, pool=lambda: self.pool, results=results, report=False, **options)  # type: ignore[arg-type]

    @property
    def kinds(self) -> dict[str, int]:
        return self.pool.kinds

    def row(self, method: str, steps: int = 2, **equal: object) -> pd.Series:
        rows = self.tables.trials
        for column, value in {"method": method, "steps": steps, **equal}.items():
            rows = rows[rows[column] == value]
        assert len(rows) == 1
        return rows.iloc[0]

    def of(self, table: str, row: pd.Series) -> pd.DataFrame:
        frame: pd.DataFrame = getattr(self.tables, table)
        return frame[frame["trial_id"] == row["trial_id"]]
