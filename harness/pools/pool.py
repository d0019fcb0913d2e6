"""Where tasks run: a pool of workers, each alone on its device. In this process, or on Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from harness.task import Task, TaskEvent


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

    def wait(self, seconds: float) -> TaskEvent | None:
        """Return the next happening, or None if nothing happened for that long."""

    def close(self) -> None:
        """End all workers."""
