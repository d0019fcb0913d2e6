"""Task artifacts, such as checkpoints and features: a safetensors file each, with its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from harness.errors import StoreDamagedError, UnstorableError, UsageError
from harness.identity import canonical_json, check_name
from harness.storage.disk import DISK, Disk, publish, read_regular, replace, storage_errors, temp_name

_TYPES = {
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
}
BLOB_KEY = "oneclock"  # one metadata key, because safetensors writes several in random order
BLOB_SUFFIX = ".safetensors"

Blob = tuple[dict[str, np.ndarray], dict[str, Any]]


class Blobs:
    """Named arrays with metadata, in one folder.

    A damaged file counts as absent, is moved to quarantine/ and named in `warnings`.
    """

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        """Use a folder; it is created if missing."""
        self.folder = folder.resolve()
        self.warnings: list[str] = []  # one sentence per damaged file that was found and moved
        self._disk = disk
        with storage_errors(self.folder, None):
            self.folder.mkdir(parents=True, exist_ok=True)

    def put(self, id: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
        """Store arrays under an id that decides their content.

        An intact file of that id is kept.
        """
        path, data = self._path(id), _encode(tensors, metadata)
        while True:
            try:
                publish(path, data, self._disk)
                return
            except FileExistsError:
                if self.has(id):
                    return

    def put_latest(self, id: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
        """Replace the arrays of an id (for checkpoints); a reader sees the old or the new ones."""
        replace(self._path(id), _encode(tensors, metadata), self._disk)

    def get(self, id: str) -> Blob | None:
        """Return the arrays and metadata of an id, or None if there is no intact file."""
        path = self._path(id)
        try:
            return _decode(read_regular(path))
        except FileNotFoundError:
            return None
        except (StoreDamagedError, OSError) as error:
            self._set_aside(path, str(error))
            return None

    def has(self, id: str) -> bool:
        """Tell whether `get` would return something; reads and verifies the file."""
        return self.get(id) is not None

    def metadata(self, id: str) -> dict[str, Any] | None:
        """Return the metadata of an id, or None if there is no intact file.

        Reads the whole file.
        """
        blob = self.get(id)
        return blob[1] if blob else None

    def drop(self, id: str) -> None:
        """Remove an id's file, if there is one."""
        with storage_errors(self.folder, 0):
            self._path(id).unlink(missing_ok=True)

    def _path(self, id: str) -> Path:
        return self.folder / f"{check_name(id, 'artifact id')}{BLOB_SUFFIX}"

    def _set_aside(self, path: Path, reason: str) -> None:
        quarantine = self.folder / "quarantine"
        if quarantine.is_symlink():
            raise UsageError(f"{quarantine} is a symbolic link; expected a folder, remove the link")
        with storage_errors(self.folder, 0):
            quarantine.mkdir(exist_ok=True)
            target = quarantine / temp_name(path).name.removeprefix(".tmp-")
            try:
                path.rename(target)
            except FileNotFoundError:
                return  # another process was faster
        self.warnings.append(f"{path} is damaged ({reason}); moved to {target}, it will be made again")


def _encode(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> bytes:
    plain = {name: plain_array(name, tensor) for name, tensor in tensors.items()}
    header = {"facts": dict(metadata), "sha256": _content_sha256(plain, dict(metadata))}
    return save(plain, metadata={BLOB_KEY: canonical_json(header)})


def plain_array(name: str, tensor: np.ndarray) -> np.ndarray:
    """Return the array in C order and native byte order.

    UnstorableError for an unsupported type.
    """
    if not isinstance(tensor, np.ndarray) or tensor.dtype.name not in _TYPES:
        kind = tensor.dtype.name if isinstance(tensor, np.ndarray) else type(tensor).__name__
        expected = f"expected a numpy array of {', '.join(sorted(_TYPES))}"
        raise UnstorableError(f"array {name!r} is of type {kind}; {expected}")
    return np.asarray(tensor, dtype=tensor.dtype.newbyteorder("="), order="C")


def _decode(data: bytes) -> Blob:
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][BLOB_KEY])
        metadata, claimed = header["facts"], header["sha256"]
        tensors = load(data)
        actual = _content_sha256(tensors, metadata)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError, UsageError) as error:
        raise StoreDamagedError(f"not a readable artifact: {type(error).__name__}") from error
    if actual != claimed:
        raise StoreDamagedError("its SHA-256 does not match")
    return {name: np.array(tensor) for name, tensor in tensors.items()}, metadata


def _content_sha256(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 over metadata and arrays: names, types, shapes and bytes."""
    shapes = {name: [tensor.dtype.name, list(tensor.shape)] for name, tensor in tensors.items()}
    digest = hashlib.sha256(canonical_json({"facts": metadata, "shapes": shapes}).encode())
    for name in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
