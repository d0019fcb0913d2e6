"""Reference solution: a network's probability flow, solved in many steps.

Truncation errors are distances to it."""

from __future__ import annotations

from harness.specs.base import Output, Spec
from harness.specs.sampler import SamplerSpec


class ReferenceSolutionSpec(Spec):
    """The final states of images 0 to n - 1 under a sampler of many steps."""

    kind = "reference-solution"
    entry = "harness.tasks.reference_solution"
    output = Output

    sampler: SamplerSpec
    n: int

    def needs(self) -> tuple[str, ...]:
        return self.sampler.needs()
