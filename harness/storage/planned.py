"""The trials of a folder's latest plan: the report shows these and lists all others apart."""

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


def write_planned(
    folder: Path, trial_ids: Sequence[str], title: str = "", settings: Sequence[str] = (), disk: Disk = DISK
) -> None:
    """Write the trial ids of the latest plan, in its order, and the suite's title, replacing those before.

    `settings` are those that changed the suite, KEY=VALUE.
    """
    found: dict[str, object] = {"trials": list(trial_ids), "title": title}
    if settings:
        found["settings"] = list(settings)
    with storage_errors(folder, None):
        replace(folder / PLANNED, (canonical_json(found) + "\n").encode(), disk)


def read_title(folder: Path) -> str:
    """Return the title of the suite of the latest plan; empty where none was written."""
    try:
        found = json.loads(read_regular(folder / PLANNED))["title"]
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    return found if isinstance(found, str) else ""


def read_planned_settings(folder: Path) -> tuple[str, ...]:
    """Return the settings, KEY=VALUE, that changed the suite of the latest plan; none where none were written."""
    try:
        found = json.loads(read_regular(folder / PLANNED))["settings"]
    except (OSError, ValueError, TypeError, KeyError):
        return ()
    return tuple(found) if isinstance(found, list) and all(isinstance(one, str) for one in found) else ()


def read_planned(folder: Path) -> tuple[str, ...] | None:
    """Return the trial ids of the latest plan, or None for a folder without that file.

    StoreDamagedError for a file that `write_planned` did not write.
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
