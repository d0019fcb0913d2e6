"""Which rows a suite lacks for the chains of gains: a sentence of the plan, which gets no trial by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.errors import UsageError
from harness.identity import canonical_json
from harness.planning.checks import check_compatible
from harness.planning.trial import Trial, part_spec
from harness.schema.gain_links import LINKED_PARTS, baseline_steps, chain_links
from harness.schema.trial_name import trial_name
from methods.parts import PARTS


@dataclass(frozen=True)
class MissingLinks:
    """The links of gains that no two rows of a suite show."""

    count: int
    """Different links; rows may share one."""
    impossible: int
    """How many of them need a row whose parts do not fit together."""
    closing: tuple[str, ...]
    """Printed names of the rows that would close the others, in order of the trials that need them."""

    @property
    def sentence(self) -> str:
        """Return one sentence of the plan; "" where nothing is missing."""
        if not self.count:
            return ""
        found = f"{self.count} {'link of gains is' if self.count == 1 else 'links of gains are'} missing"
        if self.closing:
            rows = "row" if len(self.closing) == 1 else "rows"
            some = (
                f" {self.count - self.impossible} of them" if self.impossible else " it" if self.count == 1 else " them"
            )
            found += f"; {len(self.closing)} more {rows} would close{some}: {', '.join(self.closing)}"
        unfit = f"; {'the others' if self.closing else 'they'} need parts that do not fit together"
        return found + unfit if self.impossible else found


def find_missing_links(trials: Sequence[Trial], baselines: Mapping[str, Trial]) -> MissingLinks:
    """Return which links of the trials' chains have no row at one of their ends.

    `baselines` holds a trial of the suite's baseline, at any steps, by the name of its data set.
    The chains are those of harness.report.analysis.gain_chains, at the evaluations that solvers declare.
    """
    trials = [trial for trial in trials if not trial.shows_precision]  # those of another have no chain
    present = {_trial_key(trial) for trial in trials}
    links: dict[tuple[str, str], bool] = {}
    closing: dict[str, str] = {}

    for trial in trials:
        if trial.parts["solver"].name == "own":
            continue  # a wrapped one has no parts to set back
        for ends in _trial_links(trial, baselines[trial.dataset.name]):
            missing = {key: one for one in ends if (key := _trial_key(one)) not in present}
            if not missing:
                continue

            # a row that cannot be planned closes nothing
            possible = all(_parts_fit(one) for one in missing.values())
            links[_trial_key(ends[0]), _trial_key(ends[1])] = possible
            if possible:
                closing |= {key: _printed_name(one, len(baselines) > 1) for key, one in missing.items()}
    return MissingLinks(len(links), sum(not possible for possible in links.values()), tuple(closing.values()))


def _trial_links(trial: Trial, baseline: Trial) -> Iterator[tuple[Trial, Trial]]:
    """Yield the trials at the ends of each link of a chain, from the baseline to the trial.

    Nothing where the baseline cannot have as many evaluations.
    """
    steps = baseline_steps(trial.steps, _evaluations(trial), _evaluations(baseline))
    if steps is None:
        return

    before = replace(baseline, steps=steps)
    for part, _ in chain_links(_linked_parts(baseline), _linked_parts(trial)):
        changed = (
            {"network": trial.network} if part == "network" else {"parts": {**before.parts, part: trial.parts[part]}}
        )
        after = replace(before, steps=trial.steps, label=None, **changed)
        yield before, after
        before = after


def _linked_parts(trial: Trial) -> dict[str, str]:
    """Return a key of each part of a chain; a network's name is unique in a suite."""
    specs = {part: part_spec(trial.parts[part]) for part in PARTS}
    keys = {part: canonical_json([spec.name, spec.params]) for part, spec in specs.items()}
    return {part: keys.get(part, trial.network.name) for part in LINKED_PARTS}


def _trial_key(trial: Trial) -> str:
    """Return a key that is equal for trials that differ in seeds, trainings and labels alone."""
    return canonical_json([trial.dataset.name, trial.steps, _linked_parts(trial)])


def _evaluations(trial: Trial) -> int:
    solver: Any = trial.parts["solver"]
    return int(solver.evaluations_per_step)


def _printed_name(trial: Trial, with_dataset: bool) -> str:
    name = trial_name(trial.network.name, trial.method, trial.steps)
    return f"{trial.dataset.name} {name}" if with_dataset else name


def _parts_fit(trial: Trial) -> bool:
    try:
        check_compatible(trial.parts, trial.network, trial.steps)
    except UsageError:
        return False
    return True
