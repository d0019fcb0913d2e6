"""Questions to a store that several tests ask."""

from __future__ import annotations

from harness.storage.store import Store

LITTER = {"orphan", "temp"}
"""Problems that a kill may leave: files that no log entry names."""


def rows_as_text(store: Store) -> str:
    """Return all rows of the trials and steps as they would be shown."""
    return store.snapshot().read("trials").to_csv() + store.snapshot().read("steps").to_csv()
