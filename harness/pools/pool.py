"""The interface of a pool: workers that run units, each alone on its device.

The driver calls all methods from one thread of its process. None of them blocks, `poll` excepted,
for at most the seconds it is given. What takes long, such as looking for a port, a stack or a lost
node, runs in the background. Nothing here is timed: timings are taken inside workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from harness.task import TaskEvent, Unit


class Pool(Protocol):
    """Workers, one per device, on one or several hosts. Each runs one unit at a time."""

    device_class: str
    device_name: str

    def put(self, value: Any) -> Any:
        """Return a reference that replaces a value in the inputs of units."""

    def size(self) -> int:
        """Return the number of workers, including those that are starting."""

    def hosts(self) -> int:
        """Return the number of hosts that have workers, at least 1."""

    def reserve(self, hosts: int, devices: int = 1) -> None:
        """Reserve so many hosts for exclusive units from now on; units that run there continue.

        Reserved hosts stay reserved if possible; further ones are those with at least `devices`
        workers if there are any, and of these those with the fewest busy ones.
        """

    def idle(self, exclusive: bool = False) -> int:
        """Return how many workers could take a unit now.

        For exclusive units these are on reserved hosts where nothing runs, for others on all other
        hosts.
        """

    def has_loaded(self, networks: Sequence[str]) -> bool:
        """Tell whether an idle worker has one of these networks loaded, by the ids of their weights.

        True where none is named. For units that are not exclusive.
        """

    def submit(self, unit: Unit, inputs: Mapping[str, Any]) -> None:
        """Start a unit on as many idle workers as its task has ranks, on one host where it fits.

        Of idle workers those are taken that have its network loaded. `poll` returns its events.
        """

    def drop(self, unit: Unit) -> None:
        """Stop one run of a unit, the one that started first; no event of it follows."""

    def poll(self, seconds: float) -> list[TaskEvent]:
        """Return all events that have arrived; waits at most `seconds` for the first."""

    def close(self) -> None:
        """Stop all workers."""
