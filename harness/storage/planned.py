"""Which trials a results folder was last asked for: the report shows these, and names all others apart."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import StoreDamagedError
from harness.identity import canonical_json
from harness.storage.disk import DISK, Disk, read_regular, replace, storage_errors

PLANNED = "planned.json"
_TRIAL_ID = re.compile(r"[0-9a-f]{64}")


def write_planned(folder: Path, trial_ids: Sequence[str], disk: Disk = DISK) -> None:
    """Keep the trials of the latest plan, in its order, in place of those of the plan before."""
    with storage_errors(folder, None):
        replace(folder / PLANNED, (canonical_json({"trials": list(trial_ids)}) + "\n").encode(), disk)


def read_planned(folder: Path) -> tuple[str, ...] | None:
    """Return the trials of the latest plan, or None for a folder that says nothing of it.

    StoreDamagedError for a file that is not as `write_planned` leaves it.
    """
    path = folder / PLANNED
    try:
        found = json.loads(read_regular(path))["trials"]
        if not all(isinstance(one, str) and _TRIAL_ID.fullmatch(one) for one in found):
            raise ValueError("not a list of trial ids")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreDamagedError(
            f"{path} cannot be read ({error}); expected the trials of the latest plan, run the suite again to write it"
        ) from None
    return tuple(found)
