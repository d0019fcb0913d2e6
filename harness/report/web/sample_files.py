"""Reads the sample grids of a results folder: as pictures where the file says how they lie, and as they are."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from harness.report.analysis.derive import Analysis
from harness.storage.disk import read_regular

_TRIAL_ID = re.compile(r"[0-9a-f]{64}")  # it becomes a file name: nothing else may
_LARGEST_SAMPLE = 8 << 20  # bytes


def read_sample_files(folder: Path, analysis: Analysis) -> dict[str, bytes]:
    """Return trial_id -> PNG file of the sample grid.

    Anything but a regular PNG file of at most `_LARGEST_SAMPLE` bytes is left out.
    """
    found = {}
    for trial_id in analysis.trials["trial_id"]:
        path = folder / f"{trial_id}.png"
        if not _TRIAL_ID.fullmatch(trial_id) or not path.is_file() or path.is_symlink():
            continue
        data = read_regular(path)
        if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) <= _LARGEST_SAMPLE:
            found[trial_id] = data
    return found


def data_url(kind: str, data: bytes) -> str:
    """Return a file as an address that holds it, such as data:image/png;base64,..."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
