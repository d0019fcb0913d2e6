"""The parts of a check with what they found, kept as one file of JSON."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from harness.errors import UsageError, did_you_mean
from harness.gpu_check.child import ChildEnd
from harness.gpu_check.machine import MachineFinding
from harness.gpu_check.marked_tests import TestsFinding
from harness.gpu_check.network_calls import CallsFinding
from harness.gpu_check.suite_modes import MODES, ModeFinding
from harness.gpu_check.trainings import TrainingsFinding

FILE = "findings.json"
PARTS: tuple[str, ...] = ("tests", "calls", *MODES, "trainings")
"""In the order in which they run."""


class Findings(BaseModel):
    """All that a check found so far; a part that did not run yet is absent."""

    device: str
    """Kind, "cuda" or "cpu"."""
    machine: MachineFinding
    tests: TestsFinding | None = None
    calls: CallsFinding | None = None
    modes: dict[str, ModeFinding] = {}
    trainings: TrainingsFinding | None = None

    def ends(self, part: str) -> list[ChildEnd] | None:
        """Return how the processes of a part ended; None where it did not run."""
        if part in MODES:
            found = self.modes.get(part)
            return None if found is None else [one for one in [found.end] if one]
        if part == "trainings":
            return None if self.trainings is None else [one.end for one in self.trainings.trainings if one.end]
        single = self.tests if part == "tests" else self.calls
        return None if single is None else [one for one in [single.end] if one]

    def is_done(self, part: str) -> bool:
        """Tell whether a part ran to its end; trainings are done once each has ended by a rule, or cannot run."""
        ends = self.ends(part)
        if ends is None or any(end.is_over_time or end.code for end in ends):
            return False
        if part != "trainings":
            return True
        assert self.trainings is not None
        return all(one.ended_by or one.problem for one in self.trainings.trainings)


def load_findings(folder: Path, machine: MachineFinding, device: str) -> Findings:
    """Return what the folder has of this machine; UsageError where it is of other devices, or no findings."""
    file = folder / FILE
    if not file.is_file():
        return Findings(device=device, machine=machine)
    try:
        found = Findings.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise UsageError(f"{file} is not what a check writes ({error.error_count()} errors); remove it") from None
    if found.device != device or set(found.machine.devices) != set(machine.devices):
        raise UsageError(
            f"{folder} holds the check of {', '.join(sorted(set(found.machine.devices)))}; expected the devices of "
            f"this one, {', '.join(sorted(set(machine.devices)))}: name another folder with --results"
        )
    return found.model_copy(update={"machine": machine})


def choose_parts(only: str | None) -> list[str]:
    """Return the parts that words with commas name, in their order; all of them for None."""
    wanted = list(PARTS) if only is None else [word.strip() for word in only.split(",")]
    for word in wanted:
        if word not in PARTS:
            raise UsageError(f'--only names "{word}", which is no part of the check{did_you_mean(word, PARTS)}')
    return [part for part in PARTS if part in wanted]
