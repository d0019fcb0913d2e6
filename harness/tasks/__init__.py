"""The kinds of work a run consists of: one file each, a generator of events, at home on any worker.

A task is told everything by value (plain JSON facts and arrays) and answers by value; it reads and writes no file.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from harness.worker import Worker


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
    """What the task was for."""

    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


Event = Progress | Checkpoint | Result


@dataclass(frozen=True)
class Task:
    """One piece of work with an identity: what kind, its facts, which tasks it needs, and how it must be placed."""

    id: str
    kind: str
    label: str
    spec: dict[str, Any]
    needs: tuple[str, ...] = ()
    ranks: int = 1
    exclusive: bool = False
    deadline_seconds: float = 3600.0


Run = Callable[[dict[str, Any], Mapping[str, Any], "Worker"], Iterator[Event]]


def runner(kind: str) -> Run:
    """Return the function of a kind: `run(spec, inputs, worker)`, a generator whose last event is a Result."""
    return importlib.import_module(f"harness.tasks.{kind}").run
