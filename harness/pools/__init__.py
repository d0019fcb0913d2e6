"""Where tasks run: a pool of workers, each alone on its device. In this process, or on Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from harness.tasks import Event, Task


@dataclass(frozen=True)
class Failure:
    """A task ended without a result: a machine-readable kind and one sentence. `lost` means that the worker is gone."""

    kind: str
    sentence: str
    lost: bool = False


@dataclass(frozen=True)
class Happening:
    """Something a task said or that befell it; `handle` stands for a Result's value wherever tasks take inputs."""

    task: Task
    event: Event | Failure
    handle: Any = None
    node: str = ""


class Pool(Protocol):
    """Workers, one per device. One task at a time on each; the driver feeds and listens."""

    device_class: str
    device_name: str

    def put(self, value: Any) -> Any:
        """Return a handle that stands for a value in the inputs of tasks."""

    def idle(self, exclusive: bool = False) -> int:
        """Return how many workers are free now; exclusive tasks want them on nodes where nothing else runs."""

    def start(self, task: Task, inputs: Mapping[str, Any]) -> None:
        """Start a task on as many idle workers as it has ranks."""

    def size(self) -> int:
        """Return the number of workers."""

    def wait(self, seconds: float) -> Happening | None:
        """Return the next happening, or None if nothing happened for that long."""

    def close(self) -> None:
        """End all workers."""
