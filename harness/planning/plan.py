"""Makes a plan of a suite: its trials, their rows, and the tasks that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from harness.config.network_card import NetworkCard, load_network_card
from harness.config.suite import ReferenceSettings, Suite, TrialEntry
from harness.data.cards import DatasetCard, load_card
from harness.data.shipped_reference import find_shipped_reference
from harness.data.splits import load_split, load_whole_split
from harness.errors import DataAbsentError, UsageError, located
from harness.identity import spec_id
from harness.integrity.guard import TamperedError, process_guard
from harness.planning.absent import AbsentThings
from harness.planning.baseline import BaselineTrials, as_list, as_part, find_same_nfe
from harness.planning.checks import (
    check_compatible,
    check_names,
    check_resources,
    check_unique,
    choose_trials,
    controlled_trials,
    is_expected_of,
)
from harness.planning.classes import check_classes, classes_spec, guided
from harness.planning.clock_difference import differing_settings
from harness.planning.decoders import check_decoder_is_used, check_learning
from harness.planning.factorial_levels import find_levels, halved_product
from harness.planning.level_range import level_range
from harness.planning.mode_checks import check_alone, check_mode, check_precision, has_neighbours
from harness.planning.optional_networks import planned_networks
from harness.planning.partners import Partners
from harness.planning.quality_checks import check_quality
from harness.planning.reference_statistics import statistics_spec
from harness.planning.schedule_levels import check_levels
from harness.planning.seed_sets import group_by_seed_set
from harness.planning.stored_parts import make_entry_part, stored_reference
from harness.planning.task_graph import TaskGraph
from harness.planning.trainings import has_trainings, network_of_training, timed_in_place, trainings_of
from harness.planning.trial import Trial
from harness.planning.unread_pictures import NOT_READ, learns_here, reads_training_split
from harness.registry import registry
from harness.sampling.network import network_params
from harness.specs.reference import ShippedSpec, StatisticsSpec
from harness.specs.row import Relations, RowSpec
from harness.specs.sampler import ClassesSpec, DataSpec
from harness.task import Task
from methods.parts import PARTS, Method


@dataclass(frozen=True)
class PlannedTrial:
    """A trial and the spec of its row. The row's id is the trial's."""

    trial: Trial
    id: str
    row: RowSpec

    @property
    def related_trial_ids(self) -> dict[str, str | None]:
        """Return the columns that name other trials of the suite, by column."""
        return {name: one for name, one in self.row.relations.model_dump().items() if name.endswith("_trial_id")}

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
    listed: tuple[Trial, ...]
    """All trials of the suite; `only` leaves none of them out."""
    listed_ids: tuple[str, ...]
    """Their ids, in the same order."""
    datasets: Mapping[str, DatasetCard]
    """The cards of its data sets, by name."""
    baseline: BaselineTrials
    left_out: tuple[str, ...] = ()
    """Optional trials that it does not have, a sentence each."""
    absent: tuple[str, ...] = ()
    """What is not on this machine and a run will need, a sentence each; none where nothing may be absent."""

    @property
    def clock_names(self) -> list[str]:
        """Return the names of the trials that speeds are against, one of each data set, whether chosen or not."""
        return sorted({clock.short for clock in self.baseline.find_clocks(list(self.listed)).values()})


def make_plan(
    suite: Suite,
    device_class: str,
    device_name: str,
    only: str | None = None,
    data_may_be_absent: bool = False,
    trains_only: bool = False,
) -> Plan:
    """Return the plan of a suite on a class of devices.

    Reads the data unless it may be absent, as may then weights that a user names; runs nothing.
    Where `trains_only`, nothing of it is to be scored, and its quality figures are not checked.

    Raises UsageError for parts that do not fit together, for names that mean nothing, where no row
    could be VALID, and for missing data; TamperedError if a method changes code that judges.
    """
    registry()
    with process_guard().watching() as tampering:
        plan = _Planner(suite, device_class, device_name, data_may_be_absent, trains_only).plan(only)
    if tampering:
        raise TamperedError(tampering.sentence("a method of this suite, while the plan was made,"))
    return plan


class _Planner:
    """Makes one plan; keeps the cards that it has read."""

    def __init__(
        self, suite: Suite, device_class: str, device_name: str, data_may_be_absent: bool, trains_only: bool
    ) -> None:
        self.suite = suite
        self.baseline = BaselineTrials(suite)
        self.device_class = device_class
        self.absent, self.trains_only = AbsentThings(data_may_be_absent), trains_only
        self.extractor = self.absent.extractor_spec(*suite.feature_network)
        self.graph = TaskGraph(suite, device_class, device_name, self.extractor, self.absent)
        self.datasets: dict[str, DatasetCard] = {}
        self.networks: dict[str, NetworkCard] = {}
        self.left_out: list[str] = []

    def plan(self, only: str | None) -> Plan:
        """Return the plan of the trials that match `only`; all trials are checked."""
        numbers = range(len(self.suite.trials))
        trials = [t for k in range(self.suite.trainings) for number in numbers for t in self._expand(number, k)]
        check_unique(self.suite, trials)
        check_names(self.suite, trials, self.networks)
        check_resources(self.suite, trials)
        check_decoder_is_used(self.suite, self.datasets.values())
        check_precision(self.suite, trials)
        check_alone(self.suite, self.graph.device_kind)
        levels = find_levels(self.suite, trials)

        # rows and their ids, without the trials that they name
        clocks, timed = self.baseline.find_clocks(trials), timed_in_place(trials)
        if not self.trains_only:
            check_quality(self.suite, trials, self.extractor, self.graph.statistics)
        partners = Partners(trials, self.suite.fidelity, self.graph, self.absent)
        rows = {
            id(t): self._row_spec(t, clocks[t.dataset.name], timed.get(id(t)), partners, levels.get(id(t), {}))
            for t in trials
        }
        ids = {key: spec_id(row) for key, row in rows.items()}
        chosen = trials if only is None else choose_trials(trials, only)

        # rows that name their baseline, clock, timing and controls
        controlled = {id(t): controlled_trials(t, trials) for t in trials}
        curve, same = self.baseline.curve(trials), group_by_seed_set(chosen)
        planned = []
        for trial in chosen:
            same_nfe, clock = find_same_nfe(curve, trial), clocks[trial.dataset.name]
            relations = Relations(
                is_baseline=self.baseline.includes(trial),
                baseline_trial_id=ids[id(same_nfe)] if same_nfe else None,
                clock_trial_id=ids[id(clock)],
                differs_from_clock=differing_settings(trial.sampler, clock.sampler),
                timed_trial_id=ids[id(timed.get(id(trial), trial))],
                control_of_trial_id=" ".join(ids[id(one)] for one in controlled[id(trial)]) or None,
            )

            others = [one for one in same[id(trial)] if one is not trial]
            compared = self._compared_tasks(rows[id(trial)], same_nfe, others, clock)
            row = rows[id(trial)].model_copy(update={**compared, "relations": relations})
            planned.append(PlannedTrial(trial, ids[id(trial)], row))

        return Plan(
            suite=self.suite,
            trials=tuple(planned),
            tasks=self.graph.tasks,
            device_class=self.device_class,
            listed=tuple(trials),
            listed_ids=tuple(ids[id(t)] for t in trials),
            datasets={card.name: card for card in self.datasets.values()},
            baseline=self.baseline,
            left_out=tuple(dict.fromkeys(self.left_out)),
            absent=tuple(self.absent.sentences),
        )

    def _compared_tasks(
        self, row: RowSpec, same_nfe: Trial | None, other_seeds: Sequence[Trial], clock: Trial
    ) -> dict[str, object]:
        """Return the tasks of other trials that a row is compared with."""
        has_own = has_neighbours(self.graph.tasks[row.time_id].spec)
        return {
            "baseline_score_id": self.graph.score_task(same_nfe).id if same_nfe else None,
            "other_seed_score_ids": tuple(self.graph.score_task(one).id for one in other_seeds),
            "clock_time_id": self.graph.timing_task(clock, clock).id if has_own else None,
        }

    def _expand(self, number: int, training: int) -> Iterable[Trial]:
        """Yield the trials of one entry in one training: every combination of its lists, with every seed set.

        None where the network has one training only and this is a further one. UsageError, with
        the number of the entry, for parts that do not fit.
        """
        entry = self.suite.trials[number]
        where = f"{self.suite.where}, [[trials]] entry {number + 1} (trials.{number})"
        datasets = as_list(entry.dataset if entry.dataset is not None else self.suite.dataset)
        networks, left_out = planned_networks(self.suite, entry)
        self.left_out += left_out
        choices = {part: [as_part(item) for item in as_list(getattr(entry, part))] for part in PARTS}
        choices["denoiser"] = guided(choices["denoiser"], entry.guidance)
        counts = {"steps": as_list(entry.steps), "precision": as_list(entry.precision or self.suite.precision)}

        every = {"dataset": datasets, "network": networks, **choices, **counts}
        for dataset, network, *parts, n, precision in halved_product(every, entry.half_of):
            if training >= trainings_of(self._load_network(network), entry.trainings or self.suite.trainings):
                continue
            for seed_set in self.suite.seed_sets:
                with located(where):
                    cards, items = self.graph.preparations, zip(PARTS, parts, strict=True)
                    made = {name: make_entry_part(name, item, cards) for name, item in items}
                    check_compatible(made, self._load_network(network), n)

                # data, classes, mode and levels
                card = self._load_dataset(dataset)
                with located(where):
                    check_learning(made, card)
                    check_classes(self.suite, made, self._load_network(network))
                    check_mode(self.suite.timing.mode, made)
                    check_levels(made["schedule"], n, level_range(self._load_network(network), card), card.name)

                # what is prepared, or was before
                trial = self._make_trial(dataset, network, made, n, precision, seed_set, training, entry)
                stored = {p: name for p, part in zip(PARTS, parts, strict=True) if (name := stored_reference(part))}
                with located(where):
                    yield self._with_preparations(replace(trial, stored=stored))

    def _make_trial(
        self,
        dataset: str,
        network: str,
        made: dict[str, Method],
        n: int,
        precision: str,
        seed_set: int,
        training: int,
        entry: TrialEntry,
    ) -> Trial:
        """Return a trial of parts that fit; adds the task of its weights."""
        card, net = self._load_dataset(dataset), self._load_network(network)
        if has_trainings(net):
            net = network_of_training(net, card.name, training, self.suite.trainings)

        weights = self.graph.weights_task(card, net)
        return Trial(
            dataset=card,
            data=self.graph.data[card.name],
            network=net,
            weights_id=weights.id if weights else None,
            parts=made,
            steps=n,
            # what it makes
            precision=precision,
            mode=self.suite.timing.mode,
            batch=self.suite.batch,
            classes=self._classes(card, net),
            seed_set=seed_set,
            n_images=self.suite.n_images,
            device_class=self.device_class,
            training=training,
            decoder=self.graph.decoder(card),
            # how the suite names and uses it
            label=entry.label,
            control_of=tuple(as_list(entry.control_of)) if entry.control_of is not None else (),
            optional=entry.optional,
            shows_precision=precision != self.suite.precision,
            shows_dataset=len(self._dataset_names) > 1,
            shows_training=self.suite.trainings > 1,
        )

    def _with_preparations(self, trial: Trial) -> Trial:
        """Return a trial with the tasks of its parts' preparations, which are added.

        A denoiser may be prepared for a schedule that is itself prepared.
        """
        for part in reversed(PARTS):
            if trial.parts[part].prepares:
                task = self.graph.prepare_task(trial, part)
                trial = replace(trial, artifact_ids={**trial.artifact_ids, part: task.id})
        return trial

    @cached_property
    def _dataset_names(self) -> set[str]:
        """Return the data sets that the suite's entries name."""
        entries = (self.suite.dataset if e.dataset is None else e.dataset for e in self.suite.trials)
        return {name for names in entries for name in as_list(names)}

    def _load_dataset(self, name: str) -> DatasetCard:
        if name not in self.datasets:
            card = self.datasets[name] = load_card(name)
            self.graph.data[card.name] = self._data_spec(card)
            if isinstance(self.suite.reference, ReferenceSettings):
                self.graph.statistics = self._statistics_spec(self.suite.reference, card)
        return self.datasets[name]

    def _data_spec(self, card: DatasetCard) -> DataSpec:
        """Return the spec of a data set, with its pixels unless they may be absent and are.

        Where a file of statistics is the reference, only what something learns from is read.
        """
        if isinstance(self.suite.reference, ReferenceSettings):
            return self._data_spec_without_reference(card)
        if self.suite.reference is None and (shipped := self._data_spec_of_shipped(card)) is not None:
            return shipped
        try:
            split = load_split(card, card.reference)
        except DataAbsentError as error:
            self.absent.add(error)
            return card.spec()
        learns = learns_here(self.suite, self._load_network)
        learnt = (load_whole_split if learns else load_split)(card, card.training_split)
        found = {card.reference: len(split.images), card.training_split: len(learnt.images)}
        return card.spec(split.fingerprint, learnt.fingerprint, split.variant, found)

    def _data_spec_of_shipped(self, card: DatasetCard) -> DataSpec | None:
        """Return the spec of a data set whose reference set ships in place of its pictures; None where it does not.

        Pictures are read where something learns from them. Where they are others, they are the reference too.
        """
        shipped = find_shipped_reference(card, self.extractor)
        if shipped is None:
            return None
        if reads_training_split(self.suite, self._load_network):
            try:
                learns = learns_here(self.suite, self._load_network)
                learnt = (load_whole_split if learns else load_split)(card, card.training_split)
            except DataAbsentError:
                return None  # the caller says what is absent
            if learnt.fingerprint != shipped.training_pixels:
                return None
        self.graph.shipped[card.name] = ShippedSpec(path=str(shipped.path), sha256=shipped.sha256)
        found = {shipped.split: shipped.images}
        return card.spec(shipped.pixels, shipped.training_pixels, shipped.variant, found)

    def _classes(self, card: DatasetCard, net: NetworkCard) -> ClassesSpec | None:
        """Return the law of the images' classes; None for a network without. Absent data have no counts of classes."""

        def load_labels() -> np.ndarray | None:
            if self.graph.data[card.name].training_pixels == "absent":
                return np.empty(0, dtype=np.int64)
            return load_split(card, card.training_split).labels

        return classes_spec(self.suite.classes, network_params(net).class_count, load_labels)

    def _data_spec_without_reference(self, card: DatasetCard) -> DataSpec:
        if not reads_training_split(self.suite, self._load_network):
            return card.spec(NOT_READ, NOT_READ)
        try:
            learns = learns_here(self.suite, self._load_network)
            learnt = (load_whole_split if learns else load_split)(card, card.training_split)
        except DataAbsentError as error:
            self.absent.add(error)
            return card.spec(NOT_READ)
        found = {card.training_split: len(learnt.images)}
        return card.spec(NOT_READ, learnt.fingerprint, learnt.variant, found)

    def _statistics_spec(self, given: ReferenceSettings, card: DatasetCard) -> StatisticsSpec:
        if len(self._dataset_names) > 1:
            raise UsageError(
                f"{self.suite.where}: reference.statistics is of one data set, and the suite has "
                f"{', '.join(sorted(self._dataset_names))}; expected a suite for each"
            )
        return statistics_spec(given, card, self.extractor, self.absent)

    def _load_network(self, name: str) -> NetworkCard:
        if name not in self.networks:
            self.networks[name] = load_network_card(name, self.suite.networks.get(name, {}))
        return self.networks[name]

    def _row_spec(
        self, trial: Trial, clock: Trial, timed: Trial | None, partners: Partners, levels: Mapping[str, str]
    ) -> RowSpec:
        """Return the spec of a trial's row, without the trials that it names.

        `timed` is timed in its place; `levels` are those of the factors of a design.
        """
        quality = self.suite.quality
        return RowSpec(
            suite=self.suite.name,
            network=trial.network.name,
            network_like=trial.network.like or trial.network.name,
            method=trial.method,
            weights=_weights_origin(trial),
            control_of=trial.control_of,
            # what is measured, and what its FID is compared with
            sampler=trial.sampler,
            extractor=self.extractor,
            statistics=self.graph.statistics,
            n_images=trial.n_images,
            tier=self.suite.timing.tier,
            training=trial.training,
            network_limit=self.graph.network_limit(trial),
            fid_targets=quality.targets.get(trial.dataset.name, ()),
            equivalence_margin=quality.equivalence_margin,
            more_steps_in=quality.more_steps_in,
            factors=dict(levels),
            # the tasks that give its values
            sample_ids=tuple(task.id for task in self.graph.sample_tasks(trial)),
            score_id=self.graph.score_task(trial).id,
            **partners.row_fields(trial),
            time_id=self.graph.timing_task(timed or trial, clock).id,
            timed_sample_ids=tuple(task.id for task in self.graph.sample_tasks(timed)) if timed else (),
            # what the values are checked against
            fid_band=self.suite.baseline.fid_band,
            expect=tuple(expected for expected in self.suite.expect if is_expected_of(expected, trial)),
            clock_score_id=self.graph.score_task(clock).id,
        )


def _weights_origin(trial: Trial) -> str:
    """Return where a network's weights come from, as rows say it."""
    if trial.network.weights is not None:
        return trial.network.weights
    unmade = "own" if trial.network.family == "own" else "exact"
    return unmade if trial.weights_id is None else "trained"
