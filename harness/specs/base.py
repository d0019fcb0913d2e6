"""What every kind of task has: a Spec (input), an Output (result) and a Policy (how it is kept and run).

All are closed models. Every field of a Spec decides the result unless it is marked `DecidesNothing`, or has the value
of its mark `DecidesNothingAs`.
A forgotten mark therefore costs a recomputation, never a wrong reuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic_core import to_jsonable_python

Json = dict[str, JsonValue]
"""A table of free keys, such as the parameters of a method."""


class Closed(BaseModel):
    """A table that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class DecidesNothing:
    """Marks a field of a Spec that stays out of the identity: `path: Annotated[str, DecidesNothing("why")]`."""

    reason: str


@dataclass(frozen=True)
class DecidesNothingAs:
    """Marks a field of a Spec that stays out of the identity while it has this value, which is as before it existed."""

    value: Any


class ImageSet(Closed):
    """The images that a task reads: a split of a data set."""

    dataset: str
    split: str


@dataclass(frozen=True)
class Policy:
    """How the results of a kind of task are kept and how its tasks are run."""

    shared: bool = False
    """Kept for all suites, in the zoo; else in the suite's results folder."""
    exclusive: bool = False
    """Runs only where no other task runs, unless the spec says otherwise."""
    measures_time: bool = False
    """Its seconds are its result: no second run begins beside the first, of which the sooner end would count."""
    resumes: bool = False
    """Its checkpoints are kept until it ends; a retry resumes from the last one."""
    of_a_users_file: bool = False
    """A UsageError ends the run: the fault lies in a file that the user named."""
    transient: tuple[str, ...] = ()
    """Arrays that are dropped once the tasks that spend them have ended."""


class Output(BaseModel):
    """What a task returns besides its arrays. The driver adds the node and the seconds it saw."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_seconds: float = 0.0
    audit_seconds: float = 0.0
    """Of these, what audits took: checks that the result is what the task says, and nothing that the result needs."""
    node: str = ""

    @property
    def has_arrays(self) -> bool:
        """Return whether it came with transient arrays, before they are dropped."""
        return False

    @classmethod
    def merge_units(cls, outputs: Iterable[Self]) -> Self:
        """Return one output for all units of a cut task, given in the order of the units."""
        raise NotImplementedError(f"tasks with {cls.__name__} are not cut into units")


class Price(Closed):
    """Device-seconds and, where known, FLOPs that making something took once."""

    seconds: float = 0.0
    flops: float | None = 0.0


class Spec(Closed):
    """What goes into a task: plain values, and ids of the tasks whose results it reads.

    The planner makes it; the driver reads `needs`, `images`, `files` and `policy`; a worker runs `entry` with it."""

    kind: ClassVar[str]
    entry: ClassVar[str]
    """The module whose function `run(spec, inputs, place)` does the work: a generator that ends in a Result."""
    output: ClassVar[type[Output]] = Output
    policy: ClassVar[Policy] = Policy()

    def needs(self) -> tuple[str, ...]:
        """Return the ids of the tasks whose results it reads."""
        return ()

    def spends(self) -> tuple[str, ...]:
        """Return those whose transient arrays it reads; they are dropped once all that read them have ended."""
        return ()

    def transient(self) -> tuple[str, ...]:
        """Return the names of the transient arrays that a sound result of it has before they are dropped."""
        return self.policy.transient

    def images(self) -> ImageSet | None:
        """Return the images that it reads, as the input "images"."""
        return None

    def files(self) -> tuple[str, ...]:
        """Return the paths of the files that it reads; an input of that name holds the bytes."""
        return ()

    def ranks(self) -> int:
        """Return how many workers do it together."""
        return 1

    def networks(self) -> tuple[str, ...]:
        """Return the ids of the weights of the networks that its worker loads, the same for tasks that share them."""
        return tuple(dict.fromkeys(_weights(self)))

    def is_exclusive(self) -> bool:
        """Return whether it runs only where no other task runs."""
        return self.policy.exclusive

    def modules(self) -> tuple[str, ...]:
        """Return the modules whose code decides the result: the entry, and the methods and networks named.

        `harness.sampling.numerics` is among them: every worker calls it before a task.
        """
        return (self.entry, "harness.sampling.numerics", *sorted(set(_modules(self))))


def deciding_fields(value: Any) -> Any:
    """Return the fields of a Spec that decide the result, as JSON; marked fields are left out at every depth."""
    if isinstance(value, BaseModel):
        return {name: deciding_fields(inner) for name, inner in _deciding(value)}
    if isinstance(value, list | tuple):
        return [deciding_fields(item) for item in value]
    if isinstance(value, dict):
        return {key: deciding_fields(item) for key, item in value.items()}
    return to_jsonable_python(value)


def _deciding(model: BaseModel) -> Iterator[tuple[str, Any]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if not any(_leaves_out(mark, value) for mark in field.metadata):
            yield name, value


def _leaves_out(mark: object, value: object) -> bool:
    return isinstance(mark, DecidesNothing) or (isinstance(mark, DecidesNothingAs) and mark.value == value)


def _weights(value: Any) -> Iterator[str]:
    """Yield the fields called `weights_id` of all tables within a Spec."""
    if isinstance(value, BaseModel):
        if isinstance(found := getattr(value, "weights_id", None), str):
            yield found
        for name in type(value).model_fields:
            yield from _weights(getattr(value, name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _weights(item)


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
