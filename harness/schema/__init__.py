"""The tables a run leaves behind: every column with its type, unit and meaning, every metric with its direction."""

from __future__ import annotations

import pyarrow as pa

from harness.schema.column import FLAG, REAL, TEXT, WHOLE, Column, Row, StoredTable
from harness.schema.details import CALIBRATION, CHECKS, QUALITY, REFINEMENTS, SEARCHES, STEPS, TIMINGS, VIRTUAL
from harness.schema.metrics import METRICS, Metric
from harness.schema.trials import TRIALS

__all__ = [
    "FLAG", "METRICS", "REAL", "SCHEMA_VERSION", "TABLES", "TEXT", "TRIALS", "WHOLE", "Column", "Metric", "Row",
    "StoredTable", "arrow_schema",
]  # fmt: skip

SCHEMA_VERSION = 1

TABLES: dict[str, StoredTable] = {
    table.name: table
    for table in (TRIALS, STEPS, TIMINGS, QUALITY, SEARCHES, CALIBRATION, VIRTUAL, REFINEMENTS, CHECKS)
}
"""Every table by name: the declaration of a new one in this tuple is all that storing and loading it takes."""


def arrow_schema(table: str) -> pa.Schema:
    """Return the Arrow schema of a loaded table: sentences as field metadata, the version as schema metadata."""
    fields = [pa.field(c.name, c.type, metadata={"sentence": c.sentence}) for c in TABLES[table].columns]
    return pa.schema(fields, metadata=table_metadata(table))


def part_schema(table: str) -> pa.Schema:
    """Return the Arrow schema of a stored part: without the sentences, which are two thirds of a part of one row."""
    return pa.schema([pa.field(c.name, c.type) for c in TABLES[table].columns])


def table_metadata(table: str) -> dict[str, str]:
    """Return what every file of a table says of itself: name and version."""
    return {"schema_version": str(SCHEMA_VERSION), "table": table}
