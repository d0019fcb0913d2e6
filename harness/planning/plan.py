"""Makes a plan of a suite: its trials, their rows, and the tasks that they share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.config.network_card import NetworkCard, load_network_card
from harness.config.suite import PartEntry, Suite, TrialEntry
from harness.data.cards import DatasetCard, load_card
from harness.data.splits import load_split
from harness.errors import UsageError, did_you_mean
from harness.identity import spec_id
from harness.metrics.extractors import extractor_spec
from harness.planning.checks import (
    check_compatible,
    controlled_trials,
    find_ambiguous_name,
    find_repeated_trial,
    is_expected_of,
    matches_pattern,
)
from harness.planning.task_graph import TaskGraph
from harness.planning.trial import Trial
from harness.registry import registry
from harness.schema import REAL, TRIALS, WHOLE
from harness.specs.row import Relations, RowSpec
from harness.specs.sampler import DataSpec
from harness.task import Task
from methods.parts import PARTS


@dataclass(frozen=True)
class PlannedTrial:
    """A trial and the spec of its row. The row's id is the trial's."""

    trial: Trial
    id: str
    row: RowSpec

    @property
    def related_trial_ids(self) -> dict[str, str | None]:
        """Return the columns that name other trials of the suite, by column."""
        return self.row.relations.model_dump(exclude={"is_baseline"})

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the ids of tasks that the row needs, those of compared trials included."""
        return self.row.needs()


@dataclass(frozen=True)
class Plan:
    """A suite's trials in their order, and every task once, by id."""

    suite: Suite
    trials: tuple[PlannedTrial, ...]
    tasks: Mapping[str, Task]
    device_class: str
    listed_ids: tuple[str, ...]
    """Ids of all trials of the suite; `only` leaves none of them out."""
    datasets: Mapping[str, DatasetCard]
    """The cards of its data sets, by name."""


def make_plan(
    suite: Suite, device_class: str, device_name: str, only: str | None = None, data_may_be_absent: bool = False
) -> Plan:
    """Return the plan of a suite on a class of devices.

    Reads the data unless it may be absent; runs nothing.

    Raises UsageError for parts that do not fit together, for names that mean nothing, and for
    missing data.
    """
    return _Planner(suite, device_class, device_name, data_may_be_absent).plan(only)


class _Planner:
    """Makes one plan; keeps the cards that it has read."""

    def __init__(self, suite: Suite, device_class: str, device_name: str, data_may_be_absent: bool) -> None:
        self.suite = suite
        self.device_class = device_class
        weights = Path(suite.extractor_weights) if suite.extractor_weights else None
        self.extractor = extractor_spec(suite.extractor, weights)
        self.graph = TaskGraph(suite, device_class, device_name, self.extractor)
        self.data_may_be_absent = data_may_be_absent
        self.datasets: dict[str, DatasetCard] = {}
        self.networks: dict[str, NetworkCard] = {}

    def plan(self, only: str | None) -> Plan:
        """Return the plan of the trials that match `only`; all trials are checked."""
        trials = [t for entry in self.suite.trials for t in self._expand_entry(entry)]
        self._check_trials(trials)

        # rows and their ids, without the trials that they name
        clocks = self._find_clocks(trials)
        rows = {id(t): self._row_spec(t, clocks[t.dataset.name]) for t in trials}
        ids = {key: spec_id(row) for key, row in rows.items()}

        chosen = [t for t in trials if only is None or matches_pattern(t, only)]
        if not chosen:
            names = ", ".join(sorted({t.method for t in trials}))
            raise UsageError(f'--only "{only}" matches none of the {len(trials)} trials; methods here: {names}')

        # rows that name their baseline, clock and controls
        controlled = {id(t): controlled_trials(t, trials) for t in trials}
        curve = {(_cell(t), t.steps): t for t in trials if self._is_baseline(t)}
        planned = []
        for trial in chosen:
            same_nfe = curve.get((_cell(trial), trial.steps * declared_evaluations_per_step(trial)))
            relations = Relations(
                is_baseline=self._is_baseline(trial),
                baseline_trial_id=ids[id(same_nfe)] if same_nfe else None,
                clock_trial_id=ids[id(clocks[trial.dataset.name])],
                control_of_trial_id=" ".join(ids[id(one)] for one in controlled[id(trial)]) or None,
            )
            baseline_score_id = self.graph.score_task(same_nfe).id if same_nfe else None
            row = rows[id(trial)].model_copy(update={"baseline_score_id": baseline_score_id, "relations": relations})
            planned.append(PlannedTrial(trial, ids[id(trial)], row))

        listed_ids = tuple(ids[id(t)] for t in trials)
        return Plan(self.suite, tuple(planned), self.graph.tasks, self.device_class, listed_ids, self.datasets)

    def _check_trials(self, trials: list[Trial]) -> None:
        """Raise UsageError for a repeated trial, an ambiguous label, or a name without meaning."""
        if name := find_repeated_trial(trials):
            raise UsageError(f'suite "{self.suite.name}" lists a trial twice: {name}; remove one of them')
        if name := find_ambiguous_name(trials):
            raise UsageError(
                f'suite "{self.suite.name}" calls several combinations of parts "{name}"; '
                "give each a label of its own, or none"
            )
        self._check_names(trials)

    def _expand_entry(self, entry: TrialEntry) -> Iterable[Trial]:
        """Yield the trials of one entry: every combination of its lists, with every seed set."""
        datasets = _as_list(entry.dataset if entry.dataset is not None else self.suite.dataset)
        networks = _as_list(entry.network if entry.network is not None else self.suite.network)
        choices = [[_as_part(item) for item in _as_list(getattr(entry, part))] for part in PARTS]
        steps = _as_list(entry.steps)

        for dataset, network, *parts, n in itertools.product(datasets, networks, *choices, steps):
            for seed_set in self.suite.seed_sets:
                yield self._make_trial(dataset, network, parts, n, seed_set, entry)

    def _make_trial(
        self, dataset: str, network: str, parts: list[PartEntry], n: int, seed_set: int, entry: TrialEntry
    ) -> Trial:
        """Return a checked trial; adds the tasks of its weights and of its parts' preparations."""
        card, net = self._load_dataset(dataset), self._load_network(network)
        made = {p: registry().make(p, part.name, part.params) for p, part in zip(PARTS, parts, strict=True)}
        check_compatible(made, net, n)

        weights = self.graph.weights_task(card, net)
        trial = Trial(
            dataset=card,
            data=self.graph.data[card.name],
            network=net,
            weights_id=weights.id if weights else None,
            parts=made,
            steps=n,
            precision=self.suite.precision,
            batch=self.suite.batch,
            seed_set=seed_set,
            n_images=self.suite.n_images,
            device_class=self.device_class,
            # how the suite names and uses it
            label=entry.label,
            control_of=tuple(_as_list(entry.control_of)) if entry.control_of is not None else (),
            optional=entry.optional,
        )

        # a denoiser may be prepared for a schedule that is itself prepared
        for part in reversed(PARTS):
            if made[part].prepares:
                task = self.graph.prepare_task(trial, part)
                trial = replace(trial, artifact_ids={**trial.artifact_ids, part: task.id})
        return trial

    def _load_dataset(self, name: str) -> DatasetCard:
        if name not in self.datasets:
            card = self.datasets[name] = load_card(name)
            self.graph.data[card.name] = self._data_spec(card)
        return self.datasets[name]

    def _data_spec(self, card: DatasetCard) -> DataSpec:
        """Return the spec of a data set, with its pixels unless they may be absent and are."""
        try:
            split = load_split(card, card.reference)
        except UsageError:
            if not self.data_may_be_absent:
                raise
            return card.spec()
        learnt = load_split(card, card.training_split)
        return card.spec(split.fingerprint, learnt.fingerprint, split.variant)

    def _load_network(self, name: str) -> NetworkCard:
        if name not in self.networks:
            self.networks[name] = load_network_card(name, self.suite.networks.get(name, {}))
        return self.networks[name]

    def _check_names(self, trials: list[Trial]) -> None:
        """Raise UsageError for changed networks that no trial uses, and known values of no trial."""
        for name in self.suite.networks:
            if name not in self.networks:
                raise UsageError(
                    f'suite "{self.suite.name}" changes the network "{name}", which none of its trials uses'
                    f"{did_you_mean(name, self.networks)}"
                )

        known = {column.name for column in TRIALS.columns if column.type in (REAL, WHOLE)}
        for number, expected in enumerate(self.suite.expect):
            if expected.column not in known:
                hint = did_you_mean(expected.column, known)
                raise UsageError(f'expect.{number}: "{expected.column}" is no column of numbers{hint}')
            if not any(is_expected_of(expected, trial) for trial in trials):
                names = {f"{t.dataset.name} {t.method} {t.steps}" for t in trials}
                wanted = f"{expected.dataset} {expected.method} {expected.steps}"
                raise UsageError(f'expect.{number}: "{wanted}" is none of the trials{did_you_mean(wanted, names)}')

    def _find_clocks(self, trials: list[Trial]) -> dict[str, Trial]:
        """Return each data set's clock.

        The baseline with the clock's steps and the first seed set.

        Raises UsageError if it is not among the trials, or is optional.
        """
        clocks: dict[str, Trial] = {}
        steps = self.suite.baseline.clock_steps
        for trial in sorted(trials, key=lambda t: t.seed_set):
            if self._is_baseline(trial) and trial.steps == steps:
                clocks.setdefault(trial.dataset.name, trial)

        missing = {t.dataset.name for t in trials} - clocks.keys()
        if missing:
            dataset = min(missing)
            raise UsageError(
                f'suite "{self.suite.name}" names a baseline with clock_steps = {steps} that is not among its trials '
                f'on "{dataset}"; add that trial or change [baseline]'
            )

        for clock in clocks.values():
            if clock.optional:
                raise UsageError(f"{clock.short} is the clock of every speed-up; remove its optional = true")
        return clocks

    def _is_baseline(self, trial: Trial) -> bool:
        """Tell whether a trial is of the baseline's network and parts, at any number of steps."""
        base = self.suite.baseline
        network = base.network or _as_list(self.suite.network)[0]
        if trial.network.name != network:
            return False
        wanted = {p: _as_part(getattr(base, p)) for p in PARTS}
        made = {p: registry().make(p, part.name, part.params) for p, part in wanted.items()}
        return all(made[p].name == m.name and made[p].params == m.params for p, m in trial.parts.items())

    def _row_spec(self, trial: Trial, clock: Trial) -> RowSpec:
        """Return the spec of a trial's row, without the trials that it names."""
        return RowSpec(
            suite=self.suite.name,
            network=trial.network.name,
            network_like=trial.network.like or trial.network.name,
            method=trial.method,
            weights=trial.network.weights or ("exact" if trial.weights_id is None else "trained"),
            control_of=trial.control_of,
            # what is measured
            sampler=trial.sampler,
            extractor=self.extractor,
            n_images=trial.n_images,
            tier=self.suite.timing.tier,
            # the tasks that give its values
            sample_ids=tuple(task.id for task in self.graph.sample_tasks(trial)),
            score_id=self.graph.score_task(trial).id,
            time_id=self.graph.timing_task(trial, clock).id,
            # what the values are checked against
            fid_band=self.suite.baseline.fid_band,
            expect=tuple(expected for expected in self.suite.expect if is_expected_of(expected, trial)),
            clock_score_id=self.graph.score_task(clock).id,
        )


def declared_evaluations_per_step(trial: Trial) -> int:
    """Return the network evaluations per step that the solver declares; a row's nfe is counted."""
    solver: Any = trial.parts["solver"]
    return int(solver.evaluations_per_step)


def _cell(trial: Trial) -> tuple[str, int]:
    """Return data set and seed set, which a trial shares with its baseline."""
    return trial.dataset.name, trial.seed_set


def _as_part(item: str | PartEntry) -> PartEntry:
    return PartEntry(name=item) if isinstance(item, str) else item


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
