"""A kind of task that is not ours, what goes in: numbers, to be added to what another such task gave."""

from __future__ import annotations

from typing import Annotated

from harness.specs.base import DecidesNothing, Output, Policy, Spec


class SumOutput(Output):
    total: float


class SumSpec(Spec):
    kind = "sum"
    entry = "kit.toy_kind_task"
    output = SumOutput
    policy = Policy(shared=True, resumes=True)

    numbers: tuple[float, ...]
    before: str | None = None
    name: Annotated[str, DecidesNothing("what people call it")] = "sum"

    def needs(self) -> tuple[str, ...]:
        return () if self.before is None else (self.before,)
