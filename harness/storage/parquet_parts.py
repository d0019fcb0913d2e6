"""Rows of a table to the bytes of one Parquet part and back, under the table's schema."""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.errors import StoreDamagedError, UsageError, did_you_mean
from harness.schema import (
    FLAG,
    REAL,
    SCHEMA_VERSION,
    TABLES,
    TEXT,
    WHOLE,
    Column,
    arrow_schema,
    part_schema,
    table_metadata,
)

Row = Mapping[str, Any]

_PLAIN = {"compression": "snappy", "use_dictionary": False, "write_statistics": False, "store_schema": False}
"""Small and fast for parts of one row; Arrow's copy of the schema would be a third of one."""
_schema, _part_schema = functools.cache(arrow_schema), functools.cache(part_schema)


def encode(table: str, rows: Sequence[Row]) -> bytes:
    """Return the rows as a Parquet file of one row group; refuses unknown columns, wrong types, NaN and infinity."""
    columns, order = TABLES[table].columns, TABLES[table].order
    known = {column.name for column in columns}
    for row in rows:
        for name in row:
            if name not in known:
                raise UsageError(f'table "{table}" has no column "{name}"{did_you_mean(name, known)}')
    arrays = [_array(table, column, rows) for column in columns]
    content = pa.Table.from_arrays(arrays, schema=_part_schema(table))
    if order:
        content = content.sort_by([(name, "ascending") for name in order])
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, content.schema, **_PLAIN) as writer:
        writer.write_table(content, row_group_size=max(1, len(rows)))
        writer.add_key_value_metadata(table_metadata(table))
    return sink.getvalue().to_pybytes()


def decode(table: str, data: bytes) -> pa.Table:
    """Return the rows of a part; raises StoreDamagedError, with the reason, for anything but this schema version.

    Columns may have been added to a version since the part was written: they are empty in it.
    """
    try:
        content = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreDamagedError(f"not a readable Parquet file ({reason})") from error

    # its version, and columns that it may lack
    metadata = content.schema.metadata or {}
    version = metadata.get(b"schema_version", b"none").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise StoreDamagedError(f"schema version {version}; this program reads version {SCHEMA_VERSION}")
    expected = _schema(table)
    known = {field.name: field.type for field in expected}
    added = [name for name in known if name not in content.column_names]
    if "trial_id" in added or any(known.get(field.name) != field.type for field in content.schema):
        raise StoreDamagedError(f'columns differ from those of table "{table}", schema version {SCHEMA_VERSION}')

    for name in added:
        content = content.append_column(name, pa.nulls(len(content), known[name]))
    return content.select(expected.names).cast(expected)


def _array(table: str, column: Column, rows: Sequence[Row]) -> pa.Array:
    cells = [_cell(table, column, row.get(column.name)) for row in rows]
    try:
        return pa.array(cells, type=column.type)
    except (ValueError, OverflowError) as error:
        raise UsageError(f'column "{column.name}" of table "{table}" holds what cannot be stored ({error})') from error


def _cell(table: str, column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.type == TEXT and isinstance(value, str):
        return str(value)
    truth = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")
    if column.type == FLAG and truth:
        return bool(value)
    if column.type == WHOLE and isinstance(value, numbers.Integral) and not truth:
        return int(value)
    if column.type == REAL and isinstance(value, numbers.Real) and not truth:
        return _finite(table, column, float(value))
    found = f"{type(value).__name__} {str(value)[:60]!r}"
    raise UsageError(f'column "{column.name}" of table "{table}" is {found}; expected {column.type}')


def _finite(table: str, column: Column, value: float) -> float:
    if not math.isfinite(value):
        raise UsageError(
            f'column "{column.name}" of table "{table}" is {value}; tables hold finite numbers, '
            "an unknown one is left out and the reason goes to the row's verdict"
        )
    return value
