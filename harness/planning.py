"""From a suite to trials and the tasks they share, each with an identity. Nothing runs here."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.cards import DatasetCard, load_card
from harness.data.pixels import load_split
from harness.errors import UsageError
from harness.identity import file_sha256, identity
from harness.metrics.extractors import extractor_facts
from harness.network_cards import NetworkCard, load_network_card
from harness.registry import registry, source_sha256
from harness.suite import Part, Suite, TrialEntry
from harness.tasks import Task
from harness.train_spec import TrainSpec
from harness.trial import Trial, library_versions
from methods.parts import PARTS, Method

_SHARD_BATCHES = 5
_GROUPS = 20


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
    baseline_trial_id: str | None
    is_baseline: bool


@dataclass(frozen=True)
class Plan:
    """A suite's trials in their order and every task, once each, by id."""

    suite: Suite
    trials: tuple[PlannedTrial, ...]
    tasks: Mapping[str, Task]
    device_class: str


def make_plan(
    suite: Suite, device_class: str, device_name: str, only: str | None = None, data_may_be_absent: bool = False
) -> Plan:
    """Return the plan of a suite on a class of devices; raise UsageError for what cannot stand together."""
    return _Planner(suite, device_class, device_name, data_may_be_absent).plan(only)


class _Planner:
    def __init__(self, suite: Suite, device_class: str, device_name: str, data_may_be_absent: bool) -> None:
        self.suite = suite
        self.device_class = device_class
        self.device_name = device_name
        weights = Path(suite.extractor_weights) if suite.extractor_weights else None
        self.extractor = {**extractor_facts(suite.extractor, weights), "path": suite.extractor_weights}
        self.data_may_be_absent = data_may_be_absent
        self.datasets: dict[str, DatasetCard] = {}
        self.data_facts: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, NetworkCard] = {}
        self.tasks: dict[str, Task] = {}

    def plan(self, only: str | None) -> Plan:
        trials = [t for entry in self.suite.trials for t in self._expand(entry)]
        if len({t.images_id() + t.method for t in trials}) < len(trials):
            raise UsageError(f'suite "{self.suite.name}" lists a trial twice: {_repeated(trials)}; remove one of them')
        clocks = self._clocks(trials)
        ids = {id(t): self._trial_id(t, clocks[_cell(t)]) for t in trials}
        curve = {(_cell(t), t.steps): ids[id(t)] for t in trials if self._on_curve(t)}
        chosen = [t for t in trials if only is None or _matches(t, only)]
        if not chosen:
            names = ", ".join(sorted({t.method for t in trials}))
            raise UsageError(f'--only "{only}" matches none of the {len(trials)} trials; methods here: {names}')
        planned = []
        for trial in chosen:
            clock = clocks[_cell(trial)]
            at_same_nfe = curve.get((_cell(trial), trial.steps * trial_evaluations(trial)))
            planned.append(self._planned(trial, ids[id(trial)], clock, ids[id(clock)], at_same_nfe))
        return Plan(self.suite, tuple(planned), self.tasks, self.device_class)

    def _expand(self, entry: TrialEntry) -> Iterable[Trial]:
        datasets = _listed(entry.dataset if entry.dataset is not None else self.suite.dataset)
        networks = _listed(entry.network if entry.network is not None else self.suite.network)
        choices = [[_as_part(item) for item in _listed(getattr(entry, part))] for part in PARTS]
        steps = _listed(entry.steps)
        for dataset, network, *parts, n in itertools.product(datasets, networks, *choices, steps):
            for seed_set in self.suite.seed_sets:
                yield self._trial(dataset, network, parts, n, seed_set, entry.label)

    def _trial(self, dataset: str, network: str, parts: list[Part], n: int, seed_set: int, label: str | None) -> Trial:
        card, net = self._dataset(dataset), self._network(network)
        made = {p: registry().make(p, part.name, part.params) for p, part in zip(PARTS, parts, strict=True)}
        _refuse(made, net, n)
        train = self._train(card, net)
        trial = Trial(
            dataset=card,
            data_facts=self.data_facts[dataset],
            network=net,
            weights_id=train.id if train else self._exact_id(card, net),
            parts=made,
            steps=n,
            precision=self.suite.precision,
            batch=self.suite.batch,
            seed_set=seed_set,
            n_images=self.suite.n_images,
            extractor=self.extractor,
            device_class=self.device_class,
            label=label,
        )
        prepares = {p: self._prepare(trial, p).id for p, method in made.items() if method.prepares}
        return replace(trial, artifacts=prepares)

    def _dataset(self, name: str) -> DatasetCard:
        if name not in self.datasets:
            card = self.datasets[name] = load_card(name)
            self.data_facts[name] = self.data_facts[card.name] = {**card.fingerprint_facts(), **self._pixels(card)}
        return self.datasets[name]

    def _pixels(self, card: DatasetCard) -> dict[str, str]:
        """Return the fingerprint of the pixels; a plan that runs nothing may do without the data."""
        try:
            split = load_split(card, card.reference)
        except UsageError:
            if not self.data_may_be_absent:
                raise
            return {"pixels": "absent"}
        return {"pixels": split.fingerprint, "variant": split.variant}

    def _network(self, name: str) -> NetworkCard:
        if name not in self.networks:
            self.networks[name] = load_network_card(name, self.suite.networks.get(name, {}))
        return self.networks[name]

    def _clocks(self, trials: list[Trial]) -> dict[tuple[str, int], Trial]:
        """Return, per data set and seed set, the baseline at the clock's step count; it must be among the trials."""
        clocks: dict[tuple[str, int], Trial] = {}
        steps = self.suite.baseline.clock_steps
        for trial in trials:
            if self._on_curve(trial) and trial.steps == steps:
                clocks[_cell(trial)] = trial
        missing = {_cell(t) for t in trials} - clocks.keys()
        if missing:
            dataset = sorted(missing)[0][0]
            raise UsageError(
                f'suite "{self.suite.name}" names a baseline with clock_steps = {steps} that is not among its trials '
                f'on "{dataset}"; add that trial or change [baseline]'
            )
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
        return identity(
            {
                "score": self._score_id(trial),
                "time": self._time_id(trial, clock),
                "suite": self.suite.name,
                "method": trial.method,
            }
        )

    def _planned(self, trial: Trial, trial_id: str, clock: Trial, clock_id: str, same_nfe: str | None) -> PlannedTrial:
        shards = self._shards(trial)
        reference = self._reference(trial.dataset)
        score = self._add(
            Task(
                id=self._score_id(trial),
                kind="score",
                label=f"score {trial.short}",
                spec={"n_images": trial.n_images, "groups": _GROUPS},
                needs=(*(s.id for s in shards), reference.id),
            )
        )
        train = self._train(trial.dataset, trial.network)
        return PlannedTrial(
            trial=trial,
            id=trial_id,
            train=train.id if train else None,
            prepares=tuple(trial.artifacts.values()),
            reference=reference.id,
            shards=tuple(s.id for s in shards),
            score=score.id,
            time=self._time(trial, clock).id,
            clock_trial_id=clock_id,
            baseline_trial_id=same_nfe,
            is_baseline=self._on_curve(trial),
        )

    def _train(self, card: DatasetCard, net: NetworkCard) -> Task | None:
        family = registry().network(net.family)
        if not family.trainable:
            return None
        if net.weights is not None:
            return self._given_weights(card, net, Path(net.weights))
        if net.train is None:
            raise UsageError(f'network "{net.name}" has neither [train] nor weights; give it one of them')
        spec = {
            "dataset": card.model_dump(mode="json"),
            "network": net.model_dump(mode="json"),
            "train": net.train.model_dump(mode="json"),
        }
        facts: dict[str, Any] = {
            "kind": "train",
            "dataset": self.data_facts[card.name],
            "family": net.family,
            "params": net.params,
            "train": decisive(net.train),
            "source": source_sha256(family),
            "device": self.device_class.partition(":")[0],
            "libraries": library_versions(),
        }
        return self._add(
            Task(
                identity(facts),
                "train",
                f"train {net.name} on {card.name}",
                spec,
                ranks=net.train.workers,
                deadline_seconds=self.suite.deadline_seconds,
            )
        )

    def _given_weights(self, card: DatasetCard, net: NetworkCard, path: Path) -> Task:
        if not path.is_file():
            raise UsageError(f'network "{net.name}": weights {path} do not exist; expected a safetensors file')
        spec = {
            "path": str(path),
            "dataset": card.model_dump(mode="json"),
            "network": net.model_dump(mode="json"),
        }
        facts = {"weights": file_sha256(path), "family": net.family, "params": net.params}
        return self._add(Task(identity(facts), "weights", f"check the weights of {net.name}", spec))

    def _exact_id(self, card: DatasetCard, net: NetworkCard) -> str:
        return identity({"exact": net.family, "params": net.params, "dataset": self.data_facts[card.name]})

    def _prepare(self, trial: Trial, part: str) -> Task:
        method: Method = trial.parts[part]
        spec = {
            "sampler": replace(trial, artifacts={}).sampler_facts(),
            "part": part,
            "method": {"name": method.name, "params": method.params.model_dump(mode="json")},
            "seed": 0,
        }
        facts = {
            "kind": "prepare",
            "sampler": spec["sampler"],
            "method": spec["method"],
            "source": source_sha256(type(method)),
            "libraries": library_versions(),
        }
        train = self._train(trial.dataset, trial.network)
        needs = (train.id,) if train else ()
        label = f"prepare {method.name} for {trial.short}"
        return self._add(
            Task(identity(facts), "prepare", label, spec, needs, deadline_seconds=self.suite.deadline_seconds)
        )

    def _reference(self, card: DatasetCard) -> Task:
        facts = {
            "kind": "reference",
            "dataset": self.data_facts[card.name],
            "split": card.reference,
            "extractor": self.extractor["sha256"],
            "name": self.extractor["name"],
        }
        spec = {"dataset": card.model_dump(mode="json"), "extractor": self.extractor}
        return self._add(Task(identity(facts), "reference", f"reference of {card.name}", spec))

    def _shards(self, trial: Trial) -> list[Task]:
        images, size = trial.images_id(), _SHARD_BATCHES * trial.batch
        needs = [*trial.artifacts.values()]
        train = self._train(trial.dataset, trial.network)
        if train:
            needs.append(train.id)
        shards = []
        for start in range(0, trial.n_images, size):
            stop = min(start + size, trial.n_images)
            facts = {
                "kind": "sample",
                "images": images,
                "start": start,
                "stop": stop,
                "extractor": self.extractor["sha256"],
                "name": self.extractor["name"],
            }
            spec = {"sampler": trial.sampler_facts(), "extractor": self.extractor, "start": start, "stop": stop}
            label = f"sample {trial.short} [{start}, {stop})"
            shards.append(
                self._add(
                    Task(
                        identity(facts),
                        "sample",
                        label,
                        spec,
                        tuple(needs),
                        deadline_seconds=self.suite.deadline_seconds,
                    )
                )
            )
        return shards

    def _score_id(self, trial: Trial) -> str:
        return identity(
            {
                "kind": "score",
                "images": trial.images_id(),
                "n": trial.n_images,
                "groups": _GROUPS,
                "reference": self._reference(trial.dataset).id,
            }
        )

    def _time_id(self, trial: Trial, clock: Trial) -> str:
        return identity(
            {
                "kind": "time",
                "images": trial.images_id(),
                "clock": clock.images_id(),
                "timing": self.suite.timing.model_dump(mode="json"),
                "device": self.device_name,
                "n": trial.n_images,
            }
        )

    def _time(self, trial: Trial, clock: Trial) -> Task:
        needs = {self._score_id(trial), *trial.artifacts.values(), *clock.artifacts.values()}
        for t in (trial, clock):
            train = self._train(t.dataset, t.network)
            needs |= {train.id} if train else set()
        task_id = self._time_id(trial, clock)
        batch = min(self.suite.timing.batch or trial.batch, trial.n_images)
        spec = {
            "sampler": trial.sampler_facts(),
            "clock": clock.sampler_facts(),
            "tier": self.suite.timing.tier,
            "batch": batch,
            "n_images": trial.n_images,
            "order_seed": int(task_id[:8], 16),
        }
        return self._add(
            Task(
                task_id,
                "time",
                f"time {trial.short}",
                spec,
                tuple(sorted(needs)),
                exclusive=True,
                deadline_seconds=self.suite.deadline_seconds,
            )
        )

    def _add(self, task: Task) -> Task:
        return self.tasks.setdefault(task.id, task)


def decisive(train: TrainSpec) -> dict[str, Any]:
    """Return the training settings that decide the weights: all but how often a checkpoint is kept."""
    return {k: v for k, v in train.model_dump(mode="json").items() if k != "checkpoint_every"}


def trial_evaluations(trial: Trial) -> int:
    """Return the network evaluations per step that the solver declares; the row's nfe is counted, not declared."""
    solver: Any = trial.parts["solver"]
    return int(solver.evaluations_per_step)


def _cell(trial: Trial) -> tuple[str, int]:
    return trial.dataset.name, trial.seed_set


def _matches(trial: Trial, pattern: str) -> bool:
    names = (trial.method, f"{trial.method}-{trial.steps}", *(m.name for m in trial.parts.values()), trial.network.name)
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _refuse(parts: dict[str, Method], net: NetworkCard, steps: int) -> None:
    """Raise UsageError with the reason if the parts cannot stand together or on this network."""
    for method in parts.values():
        if "*" not in method.families and net.family not in method.families:
            fits = ", ".join(method.families)
            raise UsageError(f'{method.part} "{method.name}" fits networks of family {fits}, not "{net.family}"')
        reason = method.refusal(parts, steps)
        if reason:
            raise UsageError(f'{method.part} "{method.name}" cannot be combined this way: {reason}')


def _repeated(trials: list[Trial]) -> str:
    seen: set[str] = set()
    for trial in trials:
        key = trial.images_id() + trial.method
        if key in seen:
            return trial.short
        seen.add(key)
    return ""


def _as_part(item: str | Part) -> Part:
    return Part(name=item) if isinstance(item, str) else item


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
