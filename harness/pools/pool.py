"""Where tasks run: a pool of workers, each alone on its device. In this process, or on Ray.

The driver calls every method from one thread. None of them blocks, `poll` for at most the seconds it is given: what
takes long (looking for a port, at a stuck process, for a lost node) a pool does beside, and reports when it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from harness.task import TaskEvent, Unit


class Pool(Protocol):
    """Workers, one per device, on one or several hosts. Each runs one unit at a time."""

    device_class: str
    device_name: str

    def put(self, value: Any) -> Any:
        """Return a handle that stands for a value in the inputs of units."""

    def size(self) -> int:
        """Return the number of workers, those included that are starting."""

    def hosts(self) -> int:
        """Return the number of hosts that have workers, at least 1."""

    def reserve(self, hosts: int) -> None:
        """Keep so many hosts for exclusive units from now on; what runs there already goes on.

        Hosts that are reserved stay so where they can; further ones are those with the fewest busy workers.
        """

    def idle(self, exclusive: bool = False) -> int:
        """Return how many workers could take a unit now.

        For exclusive units those of reserved hosts where nothing runs, for others the free ones of all other hosts.
        """

    def start(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        """Start a unit on as many idle workers as its task has ranks."""

    def drop(self, unit: Unit) -> None:
        """End one run of a unit that is not wanted any more, the one that was started first; no event follows."""

    def poll(self, seconds: float) -> list[TaskEvent]:
        """Return all events that are there, waiting at most so long for the first; empty if none came."""

    def close(self) -> None:
        """End all workers."""
