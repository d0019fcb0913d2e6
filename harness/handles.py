"""What a task is given may lie in Ray's object store: from handles to values, and to what preparing left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from harness.tasks import Result
from methods.parts import Artifact


def resolve(handle: Any) -> Any:
    """Return the value behind a handle: an object of Ray's store is fetched, anything else is itself."""
    if type(handle).__name__ == "ObjectRef":
        import ray

        return ray.get(handle)
    return handle


def artifact_of(inputs: Mapping[str, Any], artifact_id: str | None) -> Artifact | None:
    """Return what preparing left under an id, or None if the part needed no preparation."""
    return None if artifact_id is None else as_artifact(resolve(inputs[artifact_id]))


def as_artifact(result: Result) -> Artifact:
    """Return the artifact that a preparation's result holds."""
    return Artifact({n: torch.from_numpy(v.copy()) for n, v in result.tensors.items()}, result.facts["artifact"])
