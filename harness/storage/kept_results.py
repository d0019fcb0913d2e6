"""What a results root keeps of tasks, read without changing anything: no lock, no repair, no whole arrays.

For plans. A run reads the same files through `Blobs` and `Journal`, which verify all bytes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.storage.blobs import BLOB_KEY, BLOB_SUFFIX
from harness.storage.journal import LINES, decode_line, read_lines

_MOST_HEADER_BYTES = 1 << 26


def read_blob_facts(folder: Path, id: str) -> dict[str, Any] | None:
    """Return the metadata of an artifact from its header; None if it is absent, cut off or not readable."""
    path = folder / f"{id}{BLOB_SUFFIX}"
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > _MOST_HEADER_BYTES:
                return None
            header = json.loads(stream.read(length))
        facts: dict[str, Any] = json.loads(header.pop("__metadata__")[BLOB_KEY])["facts"]
        end = 8 + length + max((one["data_offsets"][1] for one in header.values()), default=0)
        return facts if path.stat().st_size == end else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def read_kept_units(folder: Path) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Return the arrays that the journal of a folder keeps, by task and unit; damaged lines count as absent.

    A unit that is not cut is called "".
    """
    units: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
    try:
        lines = [decoded[0] for _, text in read_lines(folder / LINES) if (decoded := decode_line(text)) is not None]
    except OSError:
        return {}

    for head in lines:
        known = units[head["task"]]
        if "gone" in head:
            units[head["task"]] = {unit: names - set(head["gone"]) for unit, names in known.items()}
        elif "lost" in head:
            known.pop(head["lost"], None)
        else:
            known[head["unit"]] = frozenset(str(one[0]) for one in head["arrays"])
    return units
