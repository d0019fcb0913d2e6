"""What every kind of task has: a Spec of what goes in, an Output of what comes out, a Policy of how it is kept and run.

All are closed models. Of a Spec every field decides the result unless it is marked with a `DecidesNothing`, so a new
field can only be forgotten on the safe side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic_core import to_jsonable_python

Json = dict[str, JsonValue]
"""A table whose keys only its writer knows, such as the parameters of a method."""


class Closed(BaseModel):
    """A table that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class DecidesNothing:
    """Marks a field of a Spec that stays out of the identity: `path: Annotated[str, DecidesNothing("why")]`."""

    reason: str


class ImageSet(Closed):
    """The images that a task reads: a split of a data set."""

    dataset: str
    split: str


@dataclass(frozen=True)
class Policy:
    """How the results of a kind of task are kept and how its tasks are run."""

    shared: bool = False
    """Kept for all suites, in the zoo; else beside the suite's own tables."""
    exclusive: bool = False
    """Runs only where no other task runs."""
    resumes: bool = False
    """Its checkpoints are kept until it ends, and it goes on from the last one."""
    of_a_users_file: bool = False
    """A UsageError of it ends the run with its sentence: what is wrong is a file that the user named."""
    transient: tuple[str, ...] = ()
    """Arrays of the result that are dropped when what spends them has served."""


class Output(BaseModel):
    """What comes out of a task beside its arrays. The driver adds where it ran, and how long it took as seen there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_seconds: float = 0.0
    node: str = ""

    def arrays(self) -> frozenset[str]:
        """Return the names of the transient arrays that a result of this kind has before they are dropped."""
        return frozenset()

    @classmethod
    def together(cls, outputs: Iterable[Self]) -> Self:
        """Return the outputs of all units of a cut task as one; they come in the order of the units."""
        raise NotImplementedError(f"tasks with {cls.__name__} are not cut into units")


class Price(Closed):
    """What it took to make something once: device-seconds, and FLOPs where they are known."""

    seconds: float = 0.0
    flops: float | None = 0.0


class Spec(Closed):
    """What goes into a task: plain values, and ids of the tasks whose results it reads."""

    kind: ClassVar[str]
    entry: ClassVar[str]
    """The module whose function `run(spec, inputs, place)` does the work: a generator that ends in a Result."""
    output: ClassVar[type[Output]] = Output
    policy: ClassVar[Policy] = Policy()

    def needs(self) -> tuple[str, ...]:
        """Return the ids of the tasks whose results it reads."""
        return ()

    def spends(self) -> tuple[str, ...]:
        """Return those of them whose transient arrays nothing else needs once this task has ended."""
        return ()

    def images(self) -> ImageSet | None:
        """Return the images that it reads, as the input "images"."""
        return None

    def files(self) -> tuple[str, ...]:
        """Return the paths of the files that it reads; an input of that name holds the bytes."""
        return ()

    def ranks(self) -> int:
        """Return how many workers do it together."""
        return 1

    def modules(self) -> tuple[str, ...]:
        """Return the modules whose code decides the result: the entry's, and those of the methods and networks named.

        Every worker sets the number formats of torch before a task, so theirs is among them.
        """
        return (self.entry, "harness.sampling.numerics", *sorted(set(_modules(self))))


def decisive(value: Any) -> Any:
    """Return a Spec's fields that decide the result, as JSON: all but the marked ones, tables within it likewise."""
    if isinstance(value, BaseModel):
        return {name: decisive(inner) for name, inner in _deciding(value)}
    if isinstance(value, list | tuple):
        return [decisive(item) for item in value]
    if isinstance(value, dict):
        return {key: decisive(item) for key, item in value.items()}
    return to_jsonable_python(value)


def _deciding(model: BaseModel) -> Iterator[tuple[str, Any]]:
    for name, field in type(model).model_fields.items():
        if not any(isinstance(mark, DecidesNothing) for mark in field.metadata):
            yield name, getattr(model, name)


def _modules(value: Any) -> Iterator[str]:
    """Yield the fields called `module` of all tables within a Spec that decide something."""
    if isinstance(value, BaseModel):
        if isinstance(found := getattr(value, "module", None), str):
            yield found
        for _, inner in _deciding(value):
            yield from _modules(inner)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _modules(item)
