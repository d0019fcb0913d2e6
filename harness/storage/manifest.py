"""What one job leaves in a storage for who submitted it: which files are its plan's rows, by name, length and hash."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError, StoreDamagedError
from harness.identity import canonical_json, check_name
from harness.storage.remote import RemoteFolder
from harness.storage.returned_files import ReturnedFile, is_returned_name

MOST_FETCHED = 1 << 33
"""Bytes that the rows of one job may take."""


class Manifest(BaseModel):
    """The files of a job's rows, in the order in which they are to be written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    files: tuple[ReturnedFile, ...]


def write_manifest(remote: RemoteFolder, job: str, suite: str, files: list[ReturnedFile]) -> None:
    """Write a job's manifest, after all that it names. Blocks on the network."""
    found = Manifest(suite=suite, files=tuple(files)).model_dump(mode="json")
    remote.write(_place(job), (canonical_json(found) + "\n").encode())


def fetch_returned(remote: RemoteFolder, job: str) -> Path | None:
    """Return a temporary folder with the files of a job's manifest; None where the job left none.

    The caller removes it. Blocks on the network. HarnessError for names that no results folder has, for more than
    `MOST_FETCHED` bytes, and for a file that is missing or altered.
    """
    data = remote.read(_place(job))
    if data is None:
        return None
    try:
        found = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise StoreDamagedError(f"{remote.uri}/{_place(job)} cannot be read ({error.error_count()} errors)") from None

    # names and sizes before anything is fetched
    suite = check_name(found.suite, f"the suite in {_place(job)}")
    total = sum(file.bytes for file in found.files)
    strange = [file.name for file in found.files if not is_returned_name(file.name)]
    if strange or total > MOST_FETCHED:
        what = f'the name "{strange[0]}"' if strange else f"{total} bytes"
        raise HarnessError(f"{remote.uri}/{_place(job)} lists {what}; expected the files of one suite's results")

    folder = Path(tempfile.mkdtemp(prefix="oneclock-"))
    try:
        for file in found.files:
            _fetch_file(remote, suite, file, folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def _fetch_file(remote: RemoteFolder, suite: str, file: ReturnedFile, folder: Path) -> None:
    content = remote.read(f"{suite}/{file.name}")
    if content is None or hashlib.sha256(content).hexdigest() != file.sha256:
        raise StoreDamagedError(f"{remote.uri}/{suite}/{file.name} is missing or altered; submit again")
    path = folder / file.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _place(job: str) -> str:
    return f"jobs/{check_name(job, 'the job')}.json"
