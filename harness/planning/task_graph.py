"""The tasks of a suite, each once, under the identity of everything that decides its result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.config.network_card import NetworkCard
from harness.config.suite import Suite
from harness.config.zoo_card import PREFIX, ZooCard, weights_path
from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.fetching.lookup import offer_import
from harness.identity import file_sha256, spec_id
from harness.planning.absent import ABSENT, AbsentThings
from harness.planning.decoders import decoder_spec, find_decoder
from harness.planning.stored_parts import PreparationCards, stored_preparation_spec
from harness.planning.trial import Trial, part_spec, serial_spec
from harness.planning.zoo_networks import network_limit, zoo_entry
from harness.registry import registry
from harness.sampling.foreign_weights import check_imported
from harness.specs.base import Price, Spec
from harness.specs.fidelity import BackboneSpec, FidelitySpec
from harness.specs.prepare import PrepareSpec
from harness.specs.reference import ReferenceSpec, ShippedSpec, StatisticsSpec
from harness.specs.reference_solution import ReferenceSolutionSpec
from harness.specs.row import NetworkLimit
from harness.specs.sample import SampleSpec
from harness.specs.sampler import DataSpec, DecoderSpec, ExtractorSpec
from harness.specs.score import CutImages, ScoreSpec
from harness.specs.time import Alone, TimeSpec
from harness.specs.train import TrainSpec
from harness.specs.weights import DecoderWeightsSpec, WeightsSpec
from harness.stats import GROUPS
from harness.task import Cut, Task
from methods.parts import Denoiser, Method, Schedule, Solver

UNIT_EVALUATIONS = 2_500
"""Network evaluations in a unit of sampling.

It makes as many batches as reach it, one at least.
"""
_REFERENCE_SOLUTION = {"denoiser": "full", "schedule": "edm", "solver": "heun", "executor": "serial"}


class TaskGraph:
    """Makes tasks and keeps each once, by id. Trials share equal tasks."""

    def __init__(
        self, suite: Suite, device_class: str, device_name: str, extractor: ExtractorSpec, absent: AbsentThings
    ) -> None:
        self.suite = suite
        self.device_class = device_class
        self.device_name = device_name
        self.extractor = extractor
        self.absent = absent
        self.data: dict[str, DataSpec] = {}
        """The specs of the suite's data sets, by name, with the pixels that were found."""
        self.statistics: StatisticsSpec | None = None
        """The file of statistics in place of the reference split, if the suite has one."""

        self.shipped: dict[str, ShippedSpec] = {}
        """Files that ship in place of a data set's reference pictures, by its name."""
        self.preparations = PreparationCards()
        """The cards of stored ones."""
        self.tasks: dict[str, Task] = {}
        self._given: dict[str, WeightsSpec] = {}
        self._decoders: dict[str, DecoderSpec | None] = {}
        self._zoo_cards: dict[str, ZooCard] = {}
        self._samples: dict[int, tuple[Trial, list[Task]]] = {}
        self._with_kept_images: set[str] = set()

    @property
    def device_kind(self) -> str:
        """Return "cpu" or "cuda"."""
        return self.device_class.partition(":")[0]

    def weights_task(self, card: DatasetCard, net: NetworkCard) -> Task | None:
        """Return the task that trains a network or checks its given weights.

        None for an exact network.

        Raises UsageError for a network with neither [train] nor weights.
        """
        family = registry().network(net.family)
        if not family.trainable:
            return None
        if net.weights is not None:
            given = self._given_weights_spec(card, net, net.weights)
            return self._add_task(given, f"check the weights {net.weights} of {net.name}")
        card.check_trains()
        if net.train is None:
            raise UsageError(f'network "{net.name}" has neither [train] nor weights; give it one of them')
        if net.train.zero_stage == 3 and not family.scatters:
            raise UsageError(f'network "{net.name}" slices its weights, which stage 3 scatters; set zero_stage below 3')
        spec = TrainSpec(data=self.data[card.name], network=net.spec(), train=net.train, device=self.device_kind)
        return self._add_task(spec, f"train {net.name} on {card.name} (seed {net.train.seed})")

    def _given_weights_spec(self, card: DatasetCard, net: NetworkCard, weights: str) -> WeightsSpec:
        """Return the spec of given weights, with their SHA-256.

        Each file is read once per plan.
        """
        key = f"{card.name} {net.name} {weights}"

        if key not in self._given:
            if weights.startswith(PREFIX):
                found = self._zoo_cards[weights] = zoo_entry(weights, card, net, self.data[card.name])
                path, sha256, price = weights_path(found.name), found.sha256, found.price()
            else:
                check_imported(weights)
                path, price = Path(weights), Price()  # their price is not known here
                sha256 = file_sha256(path) if path.is_file() else self._note_absent_weights(net, path)
            self._given[key] = WeightsSpec(
                path=str(path), sha256=sha256, price=price, data=self.data[card.name], network=net.spec()
            )
        return self._given[key]

    def _note_absent_weights(self, net: NetworkCard, path: Path) -> str:
        """Note that a file of weights is absent, and return what stands for its SHA-256."""
        sentence = f'network "{net.name}": weights {path} do not exist; expected a safetensors file'
        self.absent.add(UsageError(sentence), f", so set networks.{net.name}.weights to its path", offer_import(path))
        return ABSENT

    def decoder(self, card: DatasetCard) -> DecoderSpec | None:
        """Return what makes pictures of a data set's states, its weights checked by a task; None for pixels."""
        if card.name not in self._decoders:
            found = find_decoder(self.suite, card, self.absent)
            self._decoders[card.name] = None if found is None else self._add_decoder(found)
        return self._decoders[card.name]

    def _add_decoder(self, found: DecoderWeightsSpec) -> DecoderSpec:
        assert self.suite.decoder is not None
        task = self._add_task(found, f"check the decoder {found.path}")
        return decoder_spec(found, task.id, self.suite.decoder.batch)

    def network_limit(self, trial: Trial) -> NetworkLimit | None:
        """Return the FID of a trial's network solved out, None where the zoo has none that compares.

        It was taken against the pictures, so it does not compare with FIDs against a file of statistics.
        """
        if self.statistics is not None:
            return None
        found = self._zoo_cards.get(trial.network.weights or "")
        return None if found is None else network_limit(found, self.extractor, trial.n_images)

    def prepare_task(self, trial: Trial, part: str) -> Task:
        """Return the task that prepares the method of one part.

        Trials share it if it does not depend on them.

        `trial.artifact_ids` names the preparations of other parts that it may depend on.
        """
        method = trial.parts[part]
        base = method.begins_with()
        start = self.prepare_task(replace(trial, parts={**trial.parts, part: base}), part).id if base else None
        whole = self._prepare_spec(trial, part, start, method.prepares_for, _sampling_only(method), method.scores)
        if base is None and (reference := trial.stored.get(part)):
            return self._stored_preparation(trial, reference, whole)

        # a method that searches names what decides its jobs
        if type(method).next_jobs is not Method.next_jobs:
            if not set(method.jobs_for or ()) <= set(method.prepares_for):
                raise UsageError(f'{part} "{method.name}" has a jobs_for that is not among its prepares_for')
            if "steps" not in method.prepares_for:
                raise UsageError(f'{part} "{method.name}" searches; expected steps in its prepares_for')
            jobs = self._search_job_spec(trial, part, start)
            whole = whole.model_copy(update={"jobs": jobs})
        return self._add_task(whole, f"prepare {method.name} for {trial.short}")

    def _stored_preparation(self, trial: Trial, reference: str, wanted: PrepareSpec) -> Task:
        """Return the task that reads a stored preparation in place of making it."""
        zoo = self._zoo_cards.get(trial.network.weights or "")
        if zoo is None:
            raise UsageError(
                f"{trial.short} names the artifact {reference}, which goes with a network of the zoo; expected its "
                f'weights as networks.{trial.network.name}.weights = "{PREFIX}NAME"'
            )
        spec = stored_preparation_spec(reference, trial, wanted, zoo.sha256, self.preparations)
        return self._add_task(spec, f"read the preparation {reference} for {trial.short}")

    def _search_job_spec(self, trial: Trial, part: str, start: str | None) -> PrepareSpec:
        """Return the spec that all jobs of a search share; each job adds its own fields."""
        method = trial.parts[part]
        declared = method.prepares_for if method.jobs_for is None else method.jobs_for
        others = (*_sampling_only(method), *method.search_only)
        return self._prepare_spec(trial, part, start, declared, others, method.scores and method.jobs_for is None)

    def _prepare_spec(
        self,
        trial: Trial,
        part: str,
        start: str | None,
        declared: tuple[str, ...],
        other_params: tuple[str, ...],
        scores: bool,
    ) -> PrepareSpec:
        """Return a preparation's spec: declared parts of the trial, the method's parameters.

        `other_params` do not decide it and are kept apart. Each training prepares from seeds of its
        own; the sampler's parameters, and so its name, stay those of the suite.
        """
        made = part_spec(trial.parts[part])
        params, seed = dict(made.params), made.params.get("seed")
        if isinstance(seed, int):
            params["seed"] = seed + trial.training

        spec = PrepareSpec(
            model=trial.model,
            sigma_min=trial.level_range.low,
            sigma_max=trial.level_range.high,
            part=part,
            method=made.model_copy(
                update={"params": {name: value for name, value in params.items() if name not in other_params}}
            ),
            other_params={name: value for name, value in params.items() if name in other_params},
            seed=trial.training,
            # of the trial, only what the method declares
            steps=trial.steps if "steps" in declared else None,
            schedule=trial.part("schedule") if "schedule" in declared else None,
            solver=trial.part("solver") if "solver" in declared else None,
            classes=trial.classes if "solver" in declared else None,
            serial=serial_spec(),
            start_id=start,
            reads_images=trial.parts[part].learns_from_images,
            device=self.device_kind,
        )

        return spec.scored(self.reference_task(trial.dataset).id, self.extractor, trial.decoder) if scores else spec

    def reference_task(self, card: DatasetCard) -> Task:
        """Return the task that computes the features of the reference set, or reads its statistics from a file."""
        spec = ReferenceSpec(
            data=self.data[card.name],
            extractor=self.extractor,
            statistics=self.statistics,
            shipped=self.shipped.get(card.name),
            device=self.device_kind,
        )
        return self._add_task(spec, f"reference of {card.name}")

    def reference_solution_task(self, trial: Trial) -> Task | None:
        """Return the task that computes the reference solution.

        Trials on one network and noise share it.

        None if the suite has no [truncation], or the solver does not follow the probability flow.
        """
        return self._solution_task(trial, {}, {})

    def own_solution_task(self, trial: Trial) -> Task | None:
        """Return the reference solution of the flow that a trial's denoiser was tuned to.

        None where `reference_solution_task` is, and for a denoiser without a flow of its own.
        """
        denoiser = trial.parts["denoiser"]
        assert isinstance(denoiser, Denoiser)
        if not denoiser.own_flow:
            return None
        return self._solution_task(trial, {"denoiser": denoiser}, {"denoiser": trial.artifact_ids["denoiser"]})

    def _solution_task(self, trial: Trial, own: Mapping[str, Method], artifact_ids: Mapping[str, str]) -> Task | None:
        """Return the reference solution of a network with these parts of its own, or None."""
        wanted, solver = self.suite.truncation, trial.parts["solver"]
        assert isinstance(solver, Solver)
        if wanted is None or solver.stochastic:
            return None

        # the same flow, from the same states, with the same end
        schedule = trial.parts["schedule"]
        assert isinstance(schedule, Schedule)
        parts = {**{part: registry().make(part, name, {}) for part, name in _REFERENCE_SOLUTION.items()}, **own}
        final = {"final": "denoise"} if schedule.denoises_last else {}
        parts["schedule"] = registry().make("schedule", _REFERENCE_SOLUTION["schedule"], final)
        fine = replace(
            trial, parts=parts, steps=wanted.steps, artifact_ids=dict(artifact_ids), decoder=None, mode="reproducible"
        )
        solved = fine.sampler
        if schedule.own_ends:
            levels = schedule.levels(trial.steps, *trial.level_range)
            ends = {"sigma_min": float(levels[-1]), "sigma_max": float(levels[0])}
            solved = solved.model_copy(update={**ends, "initial_scale": schedule.initial_scale(levels)})

        spec = ReferenceSolutionSpec(sampler=solved, n=self._compared_images(trial))
        return self._add_task(spec, f"reference solution of {trial.network.name} on {trial.dataset.name}")

    def sample_tasks(self, trial: Trial) -> list[Task]:
        """Return the tasks that make a trial's images, cut at multiples of the sampling batch.

        The first makes the images that are compared with a reference solution, up to a unit's end;
        the second the rest.
        """
        if id(trial) not in self._samples:
            self._samples[id(trial)] = trial, self._cut_samples(trial)
        return self._samples[id(trial)][1]

    def _cut_samples(self, trial: Trial) -> list[Task]:
        size, n = unit_images(trial), trial.n_images
        solutions = {
            "solution_id": self.reference_solution_task(trial),
            "own_solution_id": self.own_solution_task(trial),
        }
        ids = {name: task.id for name, task in solutions.items() if task is not None}
        upto = min(-(-self._compared_images(trial) // size) * size, n) if ids else 0

        plain = self._sample_spec(trial)
        parts = ((plain.model_copy(update=ids), Cut(0, upto, size)), (plain, Cut(upto, n, size)))
        return [self._sample_task(trial, spec, cut) for spec, cut in parts if len(cut)]

    def _sample_task(self, trial: Trial, spec: SampleSpec, cut: Cut) -> Task:
        label, seconds = f"sample {trial.short}", self.suite.deadline_seconds
        return self._add_once(Task(spec_id(spec), spec, label, cut, deadline_seconds=seconds))

    def score_task(self, trial: Trial) -> Task:
        """Return the task that scores a trial's images."""
        spec = ScoreSpec(
            images_id=self.images_id(trial),
            images_by_task=self._cut_images(trial),
            reference_id=self.reference_task(trial.dataset).id,
            n_images=trial.n_images,
            groups=GROUPS,
        )
        return self._add_task(spec, f"score {trial.short}")

    def keep_images(self, trial: Trial) -> None:
        """Note that a trial's images are compared with others; call it before any of its tasks are made."""
        self._with_kept_images.add(self.images_id(trial))

    def images_id(self, trial: Trial) -> str:
        """Return the identity of a trial's images, without what they are compared with."""
        return spec_id(SampleSpec(sampler=trial.sampler, extractor=self.extractor))

    def fidelity_task(self, trial: Trial, partner: Trial, backbone: BackboneSpec | None) -> Task:
        """Return the task that compares a trial's images with its partner's, which are made once for all trials."""
        spec = FidelitySpec(
            images_id=self.images_id(trial),
            partner_images_id=self.images_id(partner),
            images_by_task=self._cut_images(trial),
            partner_by_task=self._cut_images(partner),
            n_images=trial.n_images,
            groups=GROUPS,
            backbone=backbone,
        )
        return self._add_task(spec, f"compare {trial.short}")

    def _cut_images(self, trial: Trial) -> tuple[CutImages, ...]:
        return tuple(CutImages(task_id=task.id, cut=task.cut) for task in self.sample_tasks(trial) if task.cut)

    def _sample_spec(self, trial: Trial) -> SampleSpec:
        keeps_images = self.images_id(trial) in self._with_kept_images
        return SampleSpec(sampler=trial.sampler, extractor=self.extractor, keeps_images=keeps_images)

    def _compared_images(self, trial: Trial) -> int:
        """Return how many images, from the first, a reference solution holds."""
        return 0 if self.suite.truncation is None else min(self.suite.truncation.images, trial.n_images)

    def timing_task(self, trial: Trial, clock: Trial) -> Task:
        """Return the task that times a trial, interleaved with the clock trial.

        It runs after the trial's score.
        """
        timing = self.suite.timing
        spec = TimeSpec(
            sampler=trial.sampler,
            clock=clock.sampler,
            tier=timing.tier,
            batch=min(timing.batch or trial.batch, trial.n_images),
            n_images=trial.n_images,
            device_name=self.device_name,
            alone=self._alone(trial, clock),
        )
        return self._add_task(spec, f"time {trial.short}", after=(self.score_task(trial).id,))

    def _alone(self, trial: Trial, clock: Trial) -> Alone:
        """Return what a timing has to itself; the clock's own has the node, as others are compared with it."""
        usual: Alone = "device" if self.device_kind == "cuda" else "node"
        return "node" if trial.sampler == clock.sampler else self.suite.timing.alone or usual

    def _add_task(self, spec: Spec, label: str, after: tuple[str, ...] = ()) -> Task:
        seconds = self.suite.deadline_seconds
        return self._add_once(Task(spec_id(spec), spec, label, after=after, deadline_seconds=seconds))

    def _add_once(self, task: Task) -> Task:
        return self.tasks.setdefault(task.id, task)


def _sampling_only(method: Method) -> tuple[str, ...]:
    """Return the parameters that a method's preparation does not depend on: one that makes images has them all."""
    if "solver" in method.prepares_for and method.part == "denoiser":
        return method.sampling_only
    common = (name for name in method.sampling_params if name in type(method).Params.model_fields)
    return (*method.sampling_only, *common)


def unit_images(trial: Trial) -> int:
    """Return the images in a unit of sampling. It depends on the trial alone."""
    return trial.batch * max(1, math.ceil(UNIT_EVALUATIONS / (trial.batch * trial.evaluations)))
