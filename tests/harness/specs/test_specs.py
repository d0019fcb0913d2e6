"""Of what goes into a task every field decides its identity unless it is marked; a new one cannot be forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from kit.plan_kit import plan, with_train
from pydantic import BaseModel, create_model

from harness.identity import spec_id
from harness.specs.base import DecidesNothing, Spec
from harness.specs.prepare import FinishedJob

TRIALS = [
    {"steps": 2},
    {"steps": 2, "schedule": "gits", "solver": "heun"},
    {"steps": 2, "denoiser": "ddsm", "network": "slim-8"},
    {"steps": 2, "denoiser": "early-exit", "network": "uvit-8", "schedule": "logsnr"},
]


def specs() -> dict[str, Spec]:
    """Return a spec of every kind, by its entry."""
    made = plan(trials=TRIALS, truncation={"images": 10}, **with_train(steps=3))
    given = plan(dataset="digits", network="unet-8", networks={"unet-8": {"weights": "zoo:unet-8"}})
    every = [*(task.spec for one in (made, given) for task in one.tasks.values()), *(p.row for p in made.trials)]
    return {spec.entry: spec for spec in every}


SPECS = specs()
KINDS = {
    "train", "weights", "prepare", "prepare_scored", "reference", "reference_solution", "sample", "score", "fidelity",
    "time",
}  # fmt: skip


def test_every_kind_is_here() -> None:
    assert {entry.rpartition(".")[2] for entry in SPECS} == KINDS | {"row"}


def other(value: Any) -> Any:
    """Return another value of the same type; for a table one with one field changed."""
    if isinstance(value, BaseModel):
        name = next(iter(type(value).model_fields))
        return value.model_copy(update={name: other(getattr(value, name))})
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, tuple):
        return (*value, value[0]) if value else (FinishedJob(job={}, task_id="0" * 64),)
    if isinstance(value, list):
        return [*value, *value[:1], 1]
    if isinstance(value, dict):
        return {**value, "another": 1}
    return "another" if value is None else f"{value}x"


def changes(model: BaseModel, free: bool = False) -> Iterator[tuple[str, bool, BaseModel]]:
    """Yield, for every field at any depth, its path, whether it is marked, and the model with another value there."""
    for name, field in type(model).model_fields.items():
        if name == "module":
            continue  # stands for its code, which is hashed: see test_identity_of_code
        value = getattr(model, name)
        marked = free or any(isinstance(mark, DecidesNothing) for mark in field.metadata)
        if isinstance(value, BaseModel):
            for path, inside, changed in changes(value, marked):
                yield f"{name}.{path}", inside, model.model_copy(update={name: changed})
        else:
            yield name, marked, model.model_copy(update={name: other(value)})


CASES = [
    pytest.param(spec, marked, changed, id=f"{entry.rpartition('.')[2]}-{path}")
    for entry, spec in SPECS.items()
    for path, marked, changed in changes(spec)
]


@pytest.mark.parametrize(("spec", "marked", "changed"), CASES)
def test_a_field_decides_the_identity_unless_it_is_marked(spec: Spec, marked: bool, changed: Spec) -> None:
    assert changed != spec
    assert (spec_id(changed) == spec_id(spec)) is marked


def test_what_decides_nothing_says_why() -> None:
    marked = [case for case in CASES if case.values[1]]
    assert 20 < len(marked) < len(CASES) / 3
    with pytest.raises(TypeError):
        DecidesNothing()  # type: ignore[call-arg]


@pytest.mark.parametrize("entry", SPECS)
def test_a_new_field_changes_the_identity_unless_it_is_marked(entry: str) -> None:
    spec = SPECS[entry]
    for annotation, same in ((int, False), (Annotated[int, DecidesNothing("a test")], True)):
        grown = create_model("Grown", __base__=type(spec), fresh=(annotation, 1))
        assert (spec_id(grown(**dict(spec))) == spec_id(spec)) is same
