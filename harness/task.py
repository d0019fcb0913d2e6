"""The words that driver, pools and workers share: a task, what it is given, what it tells, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from harness.specs.base import Output, Spec

IMAGES, CHECKPOINT = "images", "checkpoint"
"""Names of inputs beside ids of results and paths of files: the images of `Spec.images`, the last kept state."""


@dataclass(frozen=True)
class Progress:
    """How far a task has come: `done` of `total` of its own units, and a word on them."""

    done: int
    total: int
    note: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """Enough to go on from here after a kill."""

    tensors: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """What the task was for: arrays by name, and the Output of its kind."""

    output: Output
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)


Event = Progress | Checkpoint | Result
"""What a task tells while it runs; the last is its Result."""


@dataclass(frozen=True)
class Failure:
    """A task ended without a result: a machine-readable kind and one sentence. `lost` means that the worker is gone."""

    kind: str
    sentence: str
    lost: bool = False


@dataclass(frozen=True)
class Span:
    """The images of a task that makes some of many: their indices from `start` to `stop` - 1."""

    start: int
    stop: int


@dataclass(frozen=True)
class Task:
    """One piece of work with an identity: its Spec, which images of it, and how it is placed."""

    id: str
    spec: Spec
    label: str
    span: Span | None = None
    after: tuple[str, ...] = ()
    """Tasks that must have ended before it starts, beside those whose results it reads."""
    deadline_seconds: float = 3600.0

    @property
    def kind(self) -> str:
        """Return the name of its kind."""
        return self.spec.kind

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the ids of the tasks that must have ended before it starts."""
        return (*self.spec.needs(), *self.after)

    @property
    def ranks(self) -> int:
        """Return how many workers do it together."""
        return self.spec.ranks()

    @property
    def exclusive(self) -> bool:
        """Tell whether it runs only where no other task runs."""
        return self.spec.policy.exclusive


@dataclass(frozen=True)
class TaskEvent:
    """Something a task said or that befell it; `handle` stands for a Result's value wherever tasks take inputs."""

    task: Task
    event: Event | Failure
    handle: Any = None
    node: str = ""


@dataclass(frozen=True)
class Ranks:
    """The workers that do one task together, seen from one of them, and how long they may take."""

    rank: int = 0
    size: int = 1
    address: str = "127.0.0.1"
    port: int = 0
    deadline_seconds: float = 3600.0


ALONE = Ranks()


class Inputs(Mapping[str, Any]):
    """What a task is given by name; a handle is fetched each time it is read, so that nothing is held for long."""

    def __init__(self, handles: Mapping[str, Any], fetch: Callable[[Any], Any] = lambda handle: handle) -> None:
        self._handles = handles
        self._fetch = fetch

    def __getitem__(self, name: str) -> Any:
        return self._fetch(self._handles[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __len__(self) -> int:
        return len(self._handles)
