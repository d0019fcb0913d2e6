"""Types that driver, pools and workers share: tasks, units, inputs, events and failures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from harness.specs.base import Output, Spec

IMAGES, CHECKPOINT = "images", "checkpoint"
"""Names of further inputs: the images of `Spec.images`, the last checkpoint. Others are ids of results and paths."""


@dataclass(frozen=True)
class Progress:
    """Progress of a unit: `done` of `total` steps of the task's own, and a note on them."""

    done: int
    total: int
    note: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A state from which the task can be resumed after its worker was killed."""

    tensors: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """The Output of the task's kind, and arrays by name."""

    output: Output
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)


Event = Progress | Checkpoint | Result
"""What a task yields while it runs; the last is its Result."""


@dataclass(frozen=True)
class Failure:
    """A unit ended without a result: a machine-readable kind and one sentence. `lost`: the worker is gone."""

    kind: str
    sentence: str
    lost: bool = False


@dataclass(frozen=True)
class Span:
    """The images of one unit: their indices from `start` to `stop` - 1."""

    start: int
    stop: int


@dataclass(frozen=True)
class Cut:
    """The images from `start` to `stop` - 1, cut into spans of `size`; the last one may be shorter."""

    start: int
    stop: int
    size: int

    def __len__(self) -> int:
        """Return the number of spans."""
        return -(-(self.stop - self.start) // self.size)

    def span(self, number: int) -> Span:
        """Return a span by its number."""
        first = self.start + number * self.size
        return Span(first, min(first + self.size, self.stop))


@dataclass(frozen=True)
class Task:
    """A node of the graph: work with one identity, in one unit, or in one unit for each span of its images."""

    id: str
    spec: Spec
    label: str
    cut: Cut | None = None
    after: tuple[str, ...] = ()
    """Further tasks that must have ended before it starts, besides those whose results it reads."""
    deadline_seconds: float = math.inf
    """Limit of one unit; none by default."""

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
        """Return how many workers run one unit together."""
        return self.spec.ranks()

    @cached_property
    def networks(self) -> tuple[str, ...]:
        """Return the ids of the weights that its worker loads."""
        return self.spec.networks()

    @property
    def exclusive(self) -> bool:
        """Return whether it runs only on hosts where nothing else runs."""
        return self.spec.is_exclusive()

    @property
    def unit_count(self) -> int:
        """Return the number of its units."""
        return 1 if self.cut is None else len(self.cut)

    def unit(self, number: int) -> Unit:
        """Return one of its units."""
        return Unit(self, number)

    def units(self) -> Iterator[Unit]:
        """Yield all its units in order."""
        return map(self.unit, range(self.unit_count))


@dataclass(frozen=True)
class Unit:
    """The part of a task that runs on one worker, or on a group of ranks; its `key` names its result."""

    task: Task
    number: int = 0

    @property
    def span(self) -> Span | None:
        """Return its images, None for a task that is not cut."""
        return None if self.task.cut is None else self.task.cut.span(self.number)

    @property
    def key(self) -> str:
        """Return the name of its result: the task's id, and of a cut task the span."""
        return unit_key(self.task.id, self.span)

    @property
    def label(self) -> str:
        """Return the name that a person reads."""
        span = self.span
        return self.task.label if span is None else f"{self.task.label} [{span.start}, {span.stop})"


def unit_key(task_id: str, span: Span | None) -> str:
    """Return the name of a unit's result."""
    return task_id if span is None else f"{task_id}/{span.start}-{span.stop}"


@dataclass(frozen=True)
class TaskEvent:
    """An event or the failure of a unit, from a pool to the driver. `ref` stands for a Result's value in inputs."""

    unit: Unit
    event: Event | Failure
    ref: Any = None
    node: str = ""


@dataclass(frozen=True)
class Ranks:
    """The workers that run one unit together, seen from one of them, and their deadline."""

    rank: int = 0
    size: int = 1
    address: str = "127.0.0.1"
    port: int = 0
    deadline_seconds: float = math.inf


ALONE = Ranks()


class Inputs(Mapping[str, Any]):
    """A task's inputs by name, read in its worker. Each read fetches its ref anew and may block; nothing is cached."""

    def __init__(self, refs: Mapping[str, Any], fetch: Callable[[Any], Any] = lambda ref: ref) -> None:
        self._refs = refs
        self._fetch = fetch

    def __getitem__(self, name: str) -> Any:
        return self._fetch(self._refs[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._refs)

    def __len__(self) -> int:
        return len(self._refs)


def unfinished_with_needs(
    tasks: Mapping[str, Task], task_ids: Iterable[str], is_done: Callable[[str], bool]
) -> dict[str, Task]:
    """Return the unfinished ones of these tasks and of all tasks they need, needs first, by id."""
    wanted: dict[str, Task] = {}

    def add_with_needs(task_id: str) -> None:
        if task_id in wanted or is_done(task_id):
            return
        task = tasks[task_id]
        for need in task.needs:
            add_with_needs(need)
        wanted[task_id] = task

    for task_id in task_ids:
        add_with_needs(task_id)
    return wanted
