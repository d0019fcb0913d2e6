"""A suite's factorial design: by which fields its trials differ, for effects and interactions of these."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from harness.specs.base import Closed

Factor = Literal["network", "steps", "schedule", "solver", "denoiser", "executor", "precision"]
"""A field of a trial whose values are the levels of a factor."""
Halved = Literal["steps", "schedule", "solver", "denoiser", "executor", "precision"]
"""A field of an entry of trials of which half the combinations may run."""


class FactorialSettings(Closed):
    """Which fields of the trials are factors; the trials are the runs, on each network a design of its own.

    Controls are no runs. A design may be a fraction of all combinations: the report names what it cannot tell apart.
    """

    factors: tuple[Factor, ...] = Field(min_length=2)

    @field_validator("factors")
    @classmethod
    def _name_each_once(cls, factors: tuple[Factor, ...]) -> tuple[Factor, ...]:
        for factor in factors:
            if factors.count(factor) > 1:
                raise ValueError(f'factors name "{factor}" twice; expected each once')
        return factors
