"""Samplers of a candidate as workers build them: by hand, or where a part is prepared, of a trial that has run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from harness.check.candidate import Candidate, Parts, usual_parts
from harness.config.zoo_card import PREFIX
from harness.data.cards import load_card
from harness.planning.by_hand import PartChoice, assemble_sampler
from harness.planning.level_range import LevelRange, level_range
from harness.pools.process_state import fresh_process_state
from harness.sampling.sampler import Sampler
from harness.specs.sampler import DataSpec
from methods.parts import Method


class BuiltParts(Protocol):
    """Parts that can be built into samplers."""

    @property
    def parts(self) -> Mapping[str, Method]:
        """Return the four parts."""

    @property
    def data(self) -> DataSpec:
        """Return the data whose images the samplers make."""

    @property
    def level_range(self) -> LevelRange:
        """Return the range of levels that the network is sampled in."""

    @property
    def steps(self) -> int:
        """Return the number of steps."""

    def built(self, precision: str = "float32", serial: bool = False) -> AbstractContextManager[Sampler]:
        """Give a sampler in a precision, under the settings of a worker; `serial`: with the serial executor."""


@dataclass(frozen=True)
class PartsByHand:
    """A candidate without preparation, on its network of the zoo."""

    candidate: Candidate

    @property
    def parts(self) -> Parts:
        return self.candidate.parts

    @property
    def data(self) -> DataSpec:
        return load_card(self.candidate.dataset).spec()

    @property
    def level_range(self) -> LevelRange:
        return level_range(self.candidate.zoo_card.network, load_card(self.candidate.dataset))

    @property
    def steps(self) -> int:
        return self.candidate.steps

    @contextmanager
    def built(self, precision: str = "float32", serial: bool = False) -> Iterator[Sampler]:
        chosen: dict[str, PartChoice] = {part: part_entry(method) for part, method in self.parts.items()}
        if serial:
            chosen["executor"] = usual_parts()["executor"]
        network = f"{PREFIX}{self.candidate.zoo_card.name}"
        with fresh_process_state():
            yield assemble_sampler(
                network,
                steps=self.steps,
                precision=precision,
                denoiser=chosen["denoiser"],
                schedule=chosen["schedule"],
                solver=chosen["solver"],
                executor=chosen["executor"],
            )


def part_entry(method: Method) -> dict[str, object]:
    """Return a method as suites have it: its name, and the parameters that are not the usual ones."""
    return {"name": method.name, **method.params.model_dump(mode="json", exclude_defaults=True)}
