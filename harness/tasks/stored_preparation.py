"""Stored preparation: a method's artifact from a file, in place of the task that made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load

from harness.errors import UsageError
from harness.sampling.place import Place
from harness.specs.prepare import PrepareOutput, StoredPreparationSpec
from harness.task import Event, Result

FACTS = "facts"
"""Key of the facts in the header."""


def run(spec: StoredPreparationSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    """Yield the artifact, half precision widened; UsageError if the file is no longer the planned one."""
    content: bytes = inputs[spec.path].tobytes()
    if hashlib.sha256(content).hexdigest() != spec.sha256:
        raise UsageError(f"{spec.path} has changed since the run was planned; expected it to stay, so run again")
    tensors = {name: _widened(value) for name, value in load(content).items()}
    yield Result(PrepareOutput(artifact=read_facts(content), price=spec.price), tensors)


def read_facts(content: bytes) -> dict[str, Any]:
    """Return what a method said of its preparation: JSON in the header of the safetensors file."""
    length = int.from_bytes(content[:8], "little")
    facts: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][FACTS])
    return facts


def _widened(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) if value.dtype == np.float16 else value
