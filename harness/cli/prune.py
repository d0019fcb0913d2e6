"""The verb `prune`: what it prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_NONE = "no trial is of another plan"


def prune_folder(folder: Path, move: bool) -> Iterator[str]:
    """List the rows that are not of the latest plan or, to `move` them, say how many went to quarantine."""
    from harness import api
    from harness.schema.trial_name import trial_name
    from harness.storage.pruning import prune_stale
    from harness.storage.store import QUARANTINE, Store

    if move:
        count = prune_stale(Store(folder))
        yield (
            f"moved {count} trials of other plans to {folder / QUARANTINE}" if count else "no trial is of another plan"
        )
        return

    others = api.load(folder).others
    for _, row in others.iterrows():
        name = trial_name(row["network"], row["method"], row["steps"])
        yield f"{row['trial_id'][:12]}  {name}  {row['verdict']}  {row['started_at']}"
    yield (
        f"{len(others)} trials of other plans; --stale moves them to quarantine"
        if len(others)
        else "no trial is of another plan"
    )
