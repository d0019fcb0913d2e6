"""What was found of each claim, in `claims.json` next to the folders of the suites; reports read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import StoreDamagedError
from harness.storage.disk import replace

CLAIMS_FILE = "claims.json"


def read_claim_records(results: Path) -> dict[str, dict[str, Any]]:
    """Return the records by claim; none where no claim was measured. StoreDamagedError if the file is not whole."""
    path = results / CLAIMS_FILE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StoreDamagedError(f"{path} is not a whole JSON table; remove it, and run `oneclock reproduce` again")
    return found


def write_claim_record(results: Path, name: str, record: Mapping[str, Any]) -> None:
    """Keep what was found of a claim, in place of what was found before."""
    found = {**read_claim_records(results), name: dict(record)}
    text = json.dumps({key: found[key] for key in sorted(found)}, indent=2, allow_nan=False)
    replace(results / CLAIMS_FILE, f"{text}\n".encode())
