"""From a suite to trials and the tasks they share, each with an identity. Nothing runs here."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.cards import DatasetCard, load_card
from harness.data.splits import load_split
from harness.errors import UsageError, did_you_mean
from harness.identity import identity
from harness.metrics.extractors import extractor_facts
from harness.network_cards import NetworkCard, load_network_card
from harness.plan_checks import ambiguous, controlled_trials, is_of, matches, refuse, repeated
from harness.registry import registry
from harness.schema import REAL, TRIALS, WHOLE
from harness.suite import Part, Suite, TrialEntry
from harness.taskbook import TaskBook
from harness.tasks import Task
from harness.trial import Trial
from methods.parts import PARTS


@dataclass(frozen=True)
class PlannedTrial:
    """A trial with the ids of its row and of the tasks it needs."""

    trial: Trial
    id: str
    train: str | None
    prepares: tuple[str, ...]
    reference: str
    shards: tuple[str, ...]
    score: str
    time: str
    clock_trial_id: str
    clock_score: str
    baseline_trial_id: str | None
    baseline_score: str | None
    is_baseline: bool
    control_of_trial_ids: tuple[str, ...]

    @property
    def references(self) -> dict[str, str | None]:
        """Return the columns by which the row points at rows of other trials."""
        return {
            "baseline_trial_id": self.baseline_trial_id,
            "clock_trial_id": self.clock_trial_id,
            "control_of_trial_id": " ".join(self.control_of_trial_ids) or None,
        }

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the tasks whose facts the row is made of, those of the trials it is compared with included."""
        compared = (self.clock_score, *((self.baseline_score,) if self.baseline_score else ()))
        return (self.score, *self.shards, *compared, self.time)


@dataclass(frozen=True)
class Plan:
    """A suite's trials in their order and every task, once each, by id."""

    suite: Suite
    trials: tuple[PlannedTrial, ...]
    tasks: Mapping[str, Task]
    device_class: str
    listed: tuple[str, ...]
    """Ids of all trials of the suite, those included that `only` leaves out."""


def make_plan(
    suite: Suite, device_class: str, device_name: str, only: str | None = None, data_may_be_absent: bool = False
) -> Plan:
    """Return the plan of a suite on a class of devices; raise UsageError for what cannot stand together."""
    return _Planner(suite, device_class, device_name, data_may_be_absent).plan(only)


class _Planner:
    def __init__(self, suite: Suite, device_class: str, device_name: str, data_may_be_absent: bool) -> None:
        self.suite = suite
        self.device_class = device_class
        weights = Path(suite.extractor_weights) if suite.extractor_weights else None
        extractor = {**extractor_facts(suite.extractor, weights), "path": suite.extractor_weights}
        self.book = TaskBook(suite, device_class, device_name, extractor)
        self.data_may_be_absent = data_may_be_absent
        self.datasets: dict[str, DatasetCard] = {}
        self.networks: dict[str, NetworkCard] = {}

    def plan(self, only: str | None) -> Plan:
        trials = [t for entry in self.suite.trials for t in self._expand(entry)]
        if len({t.images_id() + t.method for t in trials}) < len(trials):
            raise UsageError(f'suite "{self.suite.name}" lists a trial twice: {repeated(trials)}; remove one of them')
        if name := ambiguous(trials):
            raise UsageError(
                f'suite "{self.suite.name}" calls several combinations of parts "{name}"; '
                "give each a label of its own, or none"
            )
        self._check_names(trials)
        clocks = self._clocks(trials)
        ids = {id(t): self._trial_id(t, clocks[t.dataset.name]) for t in trials}
        controlled = {id(t): controlled_trials(t, trials) for t in trials}
        curve = {(_cell(t), t.steps): t for t in trials if self._on_curve(t)}
        chosen = [t for t in trials if only is None or matches(t, only)]
        if not chosen:
            names = ", ".join(sorted({t.method for t in trials}))
            raise UsageError(f'--only "{only}" matches none of the {len(trials)} trials; methods here: {names}')
        planned = []
        for trial in chosen:
            same_nfe = curve.get((_cell(trial), trial.steps * trial_evaluations(trial)))
            planned.append(self._planned(trial, clocks[trial.dataset.name], same_nfe, controlled[id(trial)], ids))
        return Plan(self.suite, tuple(planned), self.book.tasks, self.device_class, tuple(ids[id(t)] for t in trials))

    def _expand(self, entry: TrialEntry) -> Iterable[Trial]:
        datasets = _listed(entry.dataset if entry.dataset is not None else self.suite.dataset)
        networks = _listed(entry.network if entry.network is not None else self.suite.network)
        choices = [[_as_part(item) for item in _listed(getattr(entry, part))] for part in PARTS]
        steps = _listed(entry.steps)
        for dataset, network, *parts, n in itertools.product(datasets, networks, *choices, steps):
            for seed_set in self.suite.seed_sets:
                yield self._trial(dataset, network, parts, n, seed_set, entry)

    def _trial(self, dataset: str, network: str, parts: list[Part], n: int, seed_set: int, entry: TrialEntry) -> Trial:
        card, net = self._dataset(dataset), self._network(network)
        made = {p: registry().make(p, part.name, part.params) for p, part in zip(PARTS, parts, strict=True)}
        refuse(made, net, n)
        train = self.book.train(card, net)
        trial = Trial(
            dataset=card,
            data_facts=self.book.data_facts[card.name],
            network=net,
            weights_id=train.id if train else self.book.exact_id(card, net),
            parts=made,
            steps=n,
            precision=self.suite.precision,
            batch=self.suite.batch,
            seed_set=seed_set,
            n_images=self.suite.n_images,
            extractor=self.book.extractor,
            device_class=self.device_class,
            label=entry.label,
            control_of=tuple(_listed(entry.control_of)) if entry.control_of is not None else (),
            optional=entry.optional,
        )
        for part in reversed(PARTS):  # a denoiser may be prepared for a schedule that is itself prepared
            if made[part].prepares:
                trial = replace(trial, artifacts={**trial.artifacts, part: self.book.prepare(trial, part).id})
        return trial

    def _dataset(self, name: str) -> DatasetCard:
        if name not in self.datasets:
            card = self.datasets[name] = load_card(name)
            self.book.data_facts[card.name] = {**card.fingerprint_facts(), **self._pixels(card)}
        return self.datasets[name]

    def _pixels(self, card: DatasetCard) -> dict[str, str]:
        """Return the fingerprint of the pixels; a plan that runs nothing may do without the data."""
        try:
            split = load_split(card, card.reference)
        except UsageError:
            if not self.data_may_be_absent:
                raise
            return {"pixels": "absent"}
        learnt = load_split(card, card.training_split)
        other = {} if learnt is split else {"training_pixels": learnt.fingerprint}
        return {"pixels": split.fingerprint, "variant": split.variant, **other}

    def _network(self, name: str) -> NetworkCard:
        if name not in self.networks:
            self.networks[name] = load_network_card(name, self.suite.networks.get(name, {}))
        return self.networks[name]

    def _check_names(self, trials: list[Trial]) -> None:
        """Raise UsageError for changes of a network and expectations that nothing in the suite answers to."""
        for name in self.suite.networks:
            if name not in self.networks:
                raise UsageError(
                    f'suite "{self.suite.name}" changes the network "{name}", which none of its trials uses'
                    f"{did_you_mean(name, self.networks)}"
                )
        known = {column.name for column in TRIALS if column.type in (REAL, WHOLE)}
        for number, expected in enumerate(self.suite.expect):
            if expected.column not in known:
                hint = did_you_mean(expected.column, known)
                raise UsageError(f'expect.{number}: "{expected.column}" is no column of numbers{hint}')
            if not any(is_of(expected, trial) for trial in trials):
                names = {f"{t.dataset.name} {t.method} {t.steps}" for t in trials}
                wanted = f"{expected.dataset} {expected.method} {expected.steps}"
                raise UsageError(f'expect.{number}: "{wanted}" is none of the trials{did_you_mean(wanted, names)}')

    def _clocks(self, trials: list[Trial]) -> dict[str, Trial]:
        """Return, per data set, the baseline at the clock's step count, of the first seed set; it must be a trial."""
        clocks: dict[str, Trial] = {}
        steps = self.suite.baseline.clock_steps
        for trial in sorted(trials, key=lambda t: t.seed_set):
            if self._on_curve(trial) and trial.steps == steps:
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

    def _on_curve(self, trial: Trial) -> bool:
        base = self.suite.baseline
        network = base.network or _listed(self.suite.network)[0]
        if trial.network.name != network:
            return False
        wanted = {p: _as_part(getattr(base, p)) for p in PARTS}
        made = {p: registry().make(p, part.name, part.params) for p, part in wanted.items()}
        return all(made[p].name == m.name and made[p].params == m.params for p, m in trial.parts.items())

    def _trial_id(self, trial: Trial, clock: Trial) -> str:
        fine = self.book.fine(trial)
        return identity(
            {
                "score": self.book.score_id(trial),
                "time": self.book.time_id(trial, clock),
                "suite": self.suite.name,
                "method": trial.method,
                "band": self.suite.baseline.fid_band,
                **({"control_of": list(trial.control_of)} if trial.control_of else {}),
                **({"fine": fine.id} if fine else {}),
                "expect": [e.model_dump(mode="json") for e in self.suite.expect if is_of(e, trial)],
            }
        )

    def _planned(
        self, trial: Trial, clock: Trial, same_nfe: Trial | None, controlled: list[Trial], ids: Mapping[int, str]
    ) -> PlannedTrial:
        shards = self.book.shards(trial)
        reference = self.book.reference(trial.dataset)
        score = self.book.score(trial)
        train = self.book.train(trial.dataset, trial.network)
        return PlannedTrial(
            trial=trial,
            id=ids[id(trial)],
            train=train.id if train else None,
            prepares=tuple(trial.artifacts.values()),
            reference=reference.id,
            shards=tuple(s.id for s in shards),
            score=score.id,
            time=self.book.time(trial, clock).id,
            clock_trial_id=ids[id(clock)],
            clock_score=self.book.score(clock).id,
            baseline_trial_id=ids[id(same_nfe)] if same_nfe else None,
            baseline_score=self.book.score(same_nfe).id if same_nfe else None,
            is_baseline=self._on_curve(trial),
            control_of_trial_ids=tuple(ids[id(one)] for one in controlled),
        )


def trial_evaluations(trial: Trial) -> int:
    """Return the network evaluations per step that the solver declares; the row's nfe is counted, not declared."""
    solver: Any = trial.parts["solver"]
    return int(solver.evaluations_per_step)


def _cell(trial: Trial) -> tuple[str, int]:
    return trial.dataset.name, trial.seed_set


def _as_part(item: str | Part) -> Part:
    return Part(name=item) if isinstance(item, str) else item


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
