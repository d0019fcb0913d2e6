"""What the tests of a damaged store share: an encoder that remembers, and a store of two trials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_children import PLAN, remembering, tables

from harness.storage.parquet_parts import encode
from harness.storage.store import Store


@pytest.fixture(scope="module")
def encode_once() -> Iterator[None]:
    """Encode equal rows once: it is the slow part of a commit and these tests are about what follows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.storage.store.encode", remembering(encode))
        yield


@pytest.fixture
def pair(tmp_path: Path, encode_once: None) -> tuple[Store, dict[str, Path]]:
    """A store of two committed trials and the first one's parts and log entry by table."""
    store = Store.create_or_open(tmp_path / "store")
    for trial_id in PLAN[:2]:
        store.commit(trial_id, tables(trial_id))
    files = {table: next((store.folder / table).glob(f"{PLAN[0]}-1*")) for table in ("trials", "steps", "log")}
    return store, files
