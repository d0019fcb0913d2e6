"""Results as lines of a log.

Packed on the cluster, unpacked here, and merged into a local results folder.

The lines carry a compressed archive and its checksum. A line that was lost or changed is noticed;
an archive that reaches out of its folder is refused. Merging adds rows and pictures, and
overwrites none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import lzma
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import api
from harness.cli import in_one_line
from harness.errors import HarnessError
from harness.schema import TABLES
from harness.storage.disk import make_own_folder
from harness.storage.lock import RunLock
from harness.storage.planned import PLANNED, read_planned, read_title, write_planned
from harness.storage.store import Store

FRAME = "ONECLOCK-RESULTS"
"""How a line that carries results begins."""
_LINE = 8000  # characters of a framed line
_RETURNED = (*TABLES, "log", "samples")


def pack(folder: Path) -> Iterator[str]:
    """Yield tables, commit log and samples as framed lines, the checksum first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name in _RETURNED:
            if (folder / name).is_dir():
                archive.add(folder / name, arcname=name)
        for name in ("store.json", PLANNED):
            if (folder / name).is_file():
                archive.add(folder / name, arcname=name)

    data = buffer.getvalue()
    text = base64.b64encode(data).decode()
    yield f"{FRAME} sha256 {hashlib.sha256(data).hexdigest()}"
    yield from (f"{FRAME} data {text[i : i + _LINE]}" for i in range(0, len(text), _LINE))


def unpack(framed: list[str]) -> Path:
    """Return a temporary folder with the files that `pack` framed.

    Raises HarnessError if a line was lost or changed, or if the archive holds a link or leaves its
    folder.
    """
    data = _join_lines(framed)
    folder = Path(tempfile.mkdtemp(prefix="oneclock-"))
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:xz") as archive:
            for member in archive.getmembers():
                if not (member.isfile() or member.isdir()):
                    raise HarnessError(f'the arrived results hold "{member.name}", which is no file and no folder')

            archive.extractall(folder, filter="data")
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        shutil.rmtree(folder)
        raise HarnessError(f"the arrived results cannot be unpacked: {in_one_line(error)}") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def _join_lines(framed: list[str]) -> bytes:
    """Return the bytes that framed lines carry; raise HarnessError if their checksum differs."""
    words = [line.split(" ") for line in framed]
    expected = [w[2] for w in words if len(w) == 3 and w[1] == "sha256"]
    try:
        data = base64.b64decode("".join(w[2] for w in words if len(w) == 3 and w[1] == "data"), validate=True)
    except binascii.Error:
        data = b""
    if expected != [hashlib.sha256(data).hexdigest()]:
        raise HarnessError("the results arrived damaged (checksum differs); they stay whole there, submit again")
    return data


def merge(arrived: Path, folder: Path) -> None:
    """Merge an arrived folder into a local one, and rebuild the report.

    The arrived one is removed.

    Commits the trials and copies the pictures that the local folder lacks. Raises LockedError
    while a run holds it.
    """
    try:
        store = Store.create_or_open(folder)
        with RunLock(store.folder):
            _commit_missing(api.load(arrived), store)
            planned = read_planned(arrived)
            if planned is not None:
                write_planned(store.folder, planned, read_title(arrived))

            if (arrived / "samples").is_dir():
                make_own_folder(folder / "samples")
            for picture in sorted((arrived / "samples").glob("*.png")):
                if not (folder / "samples" / picture.name).exists():
                    shutil.copyfile(picture, folder / "samples" / picture.name)
    finally:
        shutil.rmtree(arrived)
    api.report(folder)


def _commit_missing(tables: api.Tables, store: Store) -> None:
    """Commit the trials that the store has no finished row of."""
    import pandas as pd

    present = store.snapshot().finished()
    accepted = pd.concat([tables.trials, tables.others], ignore_index=True)
    frames = {**tables.by_name, "trials": accepted}

    for trial_id, attempt in zip(accepted["trial_id"], accepted["attempt"], strict=True):
        if trial_id in present:
            continue

        rows = {
            name: _rows(frame[(frame["trial_id"] == trial_id) & (frame["attempt"] == attempt)])
            for name, frame in frames.items()
        }
        store.commit(trial_id, rows)


def _rows(frame: Any) -> list[dict[str, Any]]:
    """Return rows as dictionaries, missing values as None, without columns that `commit` fills."""
    import pandas as pd

    plain = frame.drop(columns=["trial_id", "attempt"]).astype(object)
    return plain.where(pd.notna(plain), None).to_dict("records")
