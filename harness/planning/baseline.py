"""The suite's baseline among its trials, and the clock of each data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.config.network_card import OWN_NETWORK
from harness.config.suite import PartEntry, Suite
from harness.errors import UsageError, located
from harness.planning.trial import Trial, make_part
from methods.parts import PARTS, Method


class BaselineTrials:
    """Finds the trials of the suite's baseline."""

    def __init__(self, suite: Suite) -> None:
        base = suite.baseline
        self._suite = suite
        network = base.network or as_list(suite.network)[0]
        network = Path(network).stem if network.endswith(".toml") else network  # a card's file has its name
        self._network = network.removeprefix(OWN_NETWORK)
        self._parts: dict[str, Method] = {}
        for name in PARTS:
            part = as_part(getattr(base, name))
            with located(f"{suite.where}, [baseline]"):
                self._parts[name] = make_part(name, part.name, part.params)

    def includes(self, trial: Trial) -> bool:
        """Tell whether a trial is of the baseline's network and parts in the suite's precision, at any steps."""
        wanted, is_in_format = self._parts, trial.precision == self._suite.precision
        return (
            is_in_format
            and trial.network.name == self._network
            and all(wanted[p].name == m.name and wanted[p].params == m.params for p, m in trial.parts.items())
        )

    def find_clocks(self, trials: list[Trial]) -> dict[str, Trial]:
        """Return each data set's clock.

        The baseline with the clock's steps, the first seed set and training 0.

        Raises UsageError if it is not among the trials, or is optional.
        """
        clocks: dict[str, Trial] = {}
        steps = self._suite.baseline.clock_steps
        for trial in sorted(trials, key=lambda t: (t.training, t.seed_set)):
            if self.includes(trial) and trial.steps == steps:
                clocks.setdefault(trial.dataset.name, trial)

        missing = {t.dataset.name for t in trials} - clocks.keys()
        if missing:
            dataset = min(missing)
            raise UsageError(
                f'suite "{self._suite.name}" names a baseline with clock_steps = {steps} that is not among its trials '
                f'on "{dataset}", {self._describe_steps(trials, dataset)}; add that trial or change [baseline]'
            )

        for clock in clocks.values():
            if clock.optional:
                raise UsageError(f"{clock.short} is the clock of every speed-up; remove its optional = true")
        return clocks

    def _describe_steps(self, trials: list[Trial], dataset: str) -> str:
        """Return which steps the baseline has on a data set, or whether its network stands there at all."""
        there = [trial for trial in trials if trial.dataset.name == dataset]
        steps = sorted({trial.steps for trial in there if self.includes(trial)})
        if steps:
            return f"where the baseline has {', '.join(map(str, steps))} steps"
        if self._network not in {trial.network.name for trial in there}:
            return f'where no trial is of its network "{self._network}"'
        return "where no trial has its parts"

    def curve(self, trials: list[Trial]) -> dict[tuple[Any, ...], Trial]:
        """Return the baseline's trials by cell and evaluations; see `find_same_nfe`."""
        return {(*_cell(t), t.evaluations): t for t in trials if self.includes(t)}


def find_same_nfe(curve: dict[tuple[Any, ...], Trial], trial: Trial) -> Trial | None:
    """Return the point of the baseline's curve with a trial's declared evaluations, on the same training and noise."""
    return curve.get((*_cell(trial), trial.evaluations))


def _cell(trial: Trial) -> tuple[str, int, int]:
    """Return data set, training and seed set, which a trial shares with its baseline."""
    return trial.dataset.name, trial.training, trial.seed_set


def as_part(item: str | PartEntry) -> PartEntry:
    """Return a part of a suite as a table."""
    return PartEntry(name=item) if isinstance(item, str) else item


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]
