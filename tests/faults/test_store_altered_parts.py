"""Parts and log entries that another program wrote: refused by version, columns and rows, not guessed."""

import hashlib
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_children import PLAN, tables

from harness.api import load
from harness.schema import arrow_schema
from harness.storage.commit_log import Entry, Part, encode_entry, entry_name, part_name
from harness.storage.parquet_parts import encode
from harness.storage.store import Store

pytestmark = pytest.mark.usefixtures("encode_once")


def test_an_entry_of_another_version_is_refused_by_version_and_stays(pair, monkeypatch):
    store, _ = pair
    monkeypatch.setattr("harness.storage.commit_log.SCHEMA_VERSION", 2)
    store.commit(PLAN[2], tables(PLAN[2]))
    monkeypatch.undo()
    assert len(store.snapshot().read("trials")) == 2
    assert [problem.kind for problem in store.snapshot().damage] == ["version"]
    assert "schema version 2; this program reads version 1" in str(store.snapshot().damage[0])
    before = store.check()
    assert store.quarantine() == []
    assert store.check() == before


@pytest.mark.parametrize("change", ["version", "columns", "type"])
def test_a_part_of_another_schema_is_refused_not_guessed(pair, change):
    store, _ = pair
    schema = arrow_schema("trials")
    content = pq.read_table(pa.BufferReader(encode("trials", [{"trial_id": PLAN[3], "attempt": 1}])))
    if change == "version":
        content = content.replace_schema_metadata({**schema.metadata, b"schema_version": b"0"})
    elif change == "columns":
        content = content.rename_columns({"fid": "fidd"}).replace_schema_metadata(schema.metadata)
    else:
        content = content.set_column(content.column_names.index("fid"), "fid", pa.array(["low"]))
    data = _put_into(store, content)
    assert len(store.snapshot().read("trials")) == 2
    assert [problem.path for problem in store.snapshot().damage] == [f"trials/{part_name(PLAN[3], 1, data)}"]
    assert ("schema version 0" if change == "version" else "columns differ") in store.snapshot().damage[0].reason
    assert store.check() == store.snapshot().damage
    assert load(store.folder).damage == tuple(map(str, store.snapshot().damage))


def test_a_part_from_before_a_column_was_added_is_read_with_that_column_empty(pair):
    store, _ = pair
    content = pq.read_table(pa.BufferReader(encode("trials", [{"trial_id": PLAN[3], "attempt": 1, "nfe": 4.0}])))
    _put_into(store, content.drop_columns(["fid", "network_like"]))
    (row,) = (row for row in store.snapshot().read("trials").to_dict("records") if row["trial_id"] == PLAN[3])
    assert store.snapshot().damage == []
    assert row["nfe"] == 4.0
    assert pd.isna(row["fid"])
    assert pd.isna(row["network_like"])


def _put_into(store, content):
    """Commit a part of table `trials` behind the store's back; return its SHA-256."""
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink)
    data = sink.getvalue().to_pybytes()
    sha256 = hashlib.sha256(data).hexdigest()
    name = part_name(PLAN[3], 1, sha256)
    (store.folder / "trials" / name).write_bytes(data)
    entry = Entry(PLAN[3], 1, "finished", "VALID", (Part("trials", name, len(data), sha256, 1),))
    (store.folder / "log" / entry_name(PLAN[3], 1)).write_bytes(encode_entry(entry))
    return sha256


def forged(store, rows, says):
    """Write the part of trials of the store's only attempt anew, and the log entry that names it."""
    (entry,) = store.snapshot().entries
    (part,) = (one for one in entry.parts if one.table == "trials")
    (row,) = store.snapshot().read("trials").to_dict("records")
    plain = {name: None if pd.isna(value) else value for name, value in row.items()}
    data = encode("trials", [{**plain, **one} for one in rows])
    digest = hashlib.sha256(data).hexdigest()
    fresh = Part("trials", part_name(entry.trial_id, entry.attempt, digest), len(data), digest, says)
    (store.folder / "trials" / part.name).unlink()
    (store.folder / "trials" / fresh.name).write_bytes(data)
    parts = tuple(sorted(fresh if one is part else one for one in entry.parts))
    log = store.folder / "log" / entry_name(entry.trial_id, entry.attempt)
    log.write_bytes(encode_entry(replace(entry, parts=parts)))


@pytest.mark.parametrize(
    ("rows", "says", "reason"),
    [
        ([{}], 1, None),
        ([{"trial_id": PLAN[1]}], 1, f"a row says trial_id {PLAN[1]}; the log says {PLAN[0]}"),
        ([{"attempt": 2}], 1, "a row says attempt 2; the log says 1"),
        ([{"trial_id": None}], 1, f"a row says trial_id None; the log says {PLAN[0]}"),
        ([{}, {}], 1, "2 rows; the log says 1"),
        ([{}], 2, "1 rows; the log says 2"),
    ],
)
def test_rows_that_are_not_those_of_the_log_entry_count_for_no_trial(tmp_path, rows, says, reason):
    store = Store.create_or_open(tmp_path / "results")
    store.commit(PLAN[0], tables(PLAN[0]))
    steps = len(store.snapshot().read("steps"))
    forged(store, rows, says)
    snapshot = store.snapshot()
    assert [problem.reason for problem in snapshot.damage] == ([] if reason is None else [reason])
    assert len(snapshot.read("trials")) == (reason is None)
    assert len(snapshot.read("steps")) == (steps if reason is None else 0)
    found = {problem.kind for problem in store.check()}
    assert found == (set() if reason is None else {"altered"})
