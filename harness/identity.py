"""Content hashes: canonical JSON, its SHA-256, identities of tasks, and names that are safe as folders."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

from harness.errors import UnstorableError, UsageError
from harness.sources import code_sha256, library_versions
from harness.specs.base import Spec, deciding_fields

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RESERVED = {"con", "prn", "aux", "nul"}  # device names on Windows


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, fixed separators, floats by repr, no NaN or infinity."""
    _refuse_non_finite(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(value: Any) -> str:
    """Return the SHA-256 (64 hex digits) of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def spec_id(spec: Spec) -> str:
    """Return the identity of a task: a hash of its Spec's deciding fields, its code and its libraries.

    The fields include the ids of the tasks whose results it reads, so what decides those decides it too.
    """
    modules = spec.modules()
    return content_hash(
        {
            "kind": spec.kind,
            "spec": deciding_fields(spec),
            "code": code_sha256(*modules),
            "libraries": library_versions(*modules),
        }
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_name(name: str, field: str) -> str:
    """Return the name if it may stand in paths, tables and LaTeX; raise UsageError naming the field if not."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
        raise UsageError(
            f"{field} is {str(name)[:80]!r}; expected 1 to 64 of a-z, 0-9, '_' and '-', starting with a letter or digit"
        )
    return name


def _refuse_non_finite(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UnstorableError(f"found the number {value}; identities and tables hold finite numbers only")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UsageError(f"found the key {key!r}; expected text keys")
            _refuse_non_finite(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_non_finite(item)
