"""The tasks of a suite, each once, under the identity of everything that decides its result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.config.network_card import NetworkCard
from harness.config.suite import Suite
from harness.config.zoo_card import PREFIX, weights_path
from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.identity import file_sha256, spec_id
from harness.planning.trial import Trial, part_spec, serial_spec
from harness.planning.zoo_networks import zoo_entry
from harness.registry import registry
from harness.specs.base import Price, Spec
from harness.specs.prepare import PrepareSpec
from harness.specs.reference import ReferenceSpec
from harness.specs.reference_solution import ReferenceSolutionSpec
from harness.specs.sample import SampleSpec
from harness.specs.sampler import DataSpec, ExtractorSpec
from harness.specs.score import CutImages, ScoreSpec
from harness.specs.time import TimeSpec
from harness.specs.train import TrainSpec
from harness.specs.weights import WeightsSpec
from harness.stats import GROUPS
from harness.task import Cut, Task
from methods.parts import Denoiser, Method, Solver

UNIT_EVALUATIONS = 2_500
"""A unit of sampling makes so many batches that it reaches this count of network evaluations, one batch at least."""
_REFERENCE_SOLUTION = {"denoiser": "full", "schedule": "edm", "solver": "heun", "executor": "serial"}


class TaskGraph:
    """Makes tasks and keeps each one once, by id. Tasks that two trials share are the same task."""

    def __init__(self, suite: Suite, device_class: str, device_name: str, extractor: ExtractorSpec) -> None:
        self.suite = suite
        self.device_class = device_class
        self.device_name = device_name
        self.extractor = extractor
        self.data: dict[str, DataSpec] = {}
        """What the cards of the suite's data sets say, by name, with the pixels that were found."""
        self.tasks: dict[str, Task] = {}
        self._given: dict[str, WeightsSpec] = {}
        self._samples: dict[int, tuple[Trial, list[Task]]] = {}

    @property
    def device_kind(self) -> str:
        """Return "cpu" or "cuda"."""
        return self.device_class.partition(":")[0]

    def weights(self, card: DatasetCard, net: NetworkCard) -> Task | None:
        """Return the task that gives a network's weights, or None for a network that needs none."""
        family = registry().network(net.family)
        if not family.trainable:
            return None
        if net.weights is not None:
            return self._add(self._given_weights(card, net, net.weights), f"check the weights of {net.name}")
        if net.train is None:
            raise UsageError(f'network "{net.name}" has neither [train] nor weights; give it one of them')
        if net.train.zero_stage == 3 and not family.scatters:
            raise UsageError(f'network "{net.name}" slices its weights, which stage 3 scatters; set zero_stage below 3')
        spec = TrainSpec(data=self.data[card.name], network=net.spec(), train=net.train, device=self.device_kind)
        return self._add(spec, f"train {net.name} on {card.name}")

    def _given_weights(self, card: DatasetCard, net: NetworkCard, weights: str) -> WeightsSpec:
        """Return what is to be checked of a file; it is read once, whatever happens to it afterwards."""
        key = f"{card.name} {net.name} {weights}"
        if key not in self._given:
            if weights.startswith(PREFIX):
                found = zoo_entry(weights, card, net)
                path, sha256, price = weights_path(found.name), found.sha256, found.price()
            else:
                path, price = Path(weights), Price()  # what they cost is not known here, and nothing is spent on them
                if not path.is_file():
                    raise UsageError(f'network "{net.name}": weights {path} do not exist; expected a safetensors file')
                sha256 = file_sha256(path)
            self._given[key] = WeightsSpec(
                path=str(path), sha256=sha256, price=price, data=self.data[card.name], network=net.spec()
            )
        return self._given[key]

    def prepare(self, trial: Trial, part: str) -> Task:
        """Return the task that prepares the method of one part; shared by all trials it does not depend on.

        `trial.artifacts` names the preparations of other parts that this one may depend on.
        """
        method = trial.parts[part]
        base = method.begins_with()
        start = self.prepare(replace(trial, parts={**trial.parts, part: base}), part).id if base else None
        whole = self._preparation(trial, part, start, method.prepares_for, method.sampling_only, method.scores)
        if type(method).next_jobs is not Method.next_jobs:
            if not set(method.jobs_for or ()) <= set(method.prepares_for):
                raise UsageError(f'{part} "{method.name}" has a jobs_for that is not among its prepares_for')
            if "steps" not in method.prepares_for:
                raise UsageError(f'{part} "{method.name}" searches; expected steps in its prepares_for')
            jobs = self._jobs(trial, part, start)
            whole = whole.model_copy(update={"jobs": jobs})
        return self._add(whole, f"prepare {method.name} for {trial.short}")

    def _jobs(self, trial: Trial, part: str, start: str | None) -> PrepareSpec:
        """Return what every job of a search is told beside what it is to do."""
        method = trial.parts[part]
        declared = method.prepares_for if method.jobs_for is None else method.jobs_for
        others = (*method.sampling_only, *method.search_only)
        return self._preparation(trial, part, start, declared, others, method.scores and method.jobs_for is None)

    def _preparation(
        self,
        trial: Trial,
        part: str,
        start: str | None,
        declared: tuple[str, ...],
        other_params: tuple[str, ...],
        scores: bool,
    ) -> PrepareSpec:
        """Return the preparation with what is declared of the trial, and its parameters but the others told apart."""
        made = part_spec(trial.parts[part])
        spec = PrepareSpec(
            model=trial.model,
            part=part,
            method=made.model_copy(
                update={"params": {name: value for name, value in made.params.items() if name not in other_params}}
            ),
            other_params={name: value for name, value in made.params.items() if name in other_params},
            steps=trial.steps if "steps" in declared else None,
            schedule=trial.part("schedule") if "schedule" in declared else None,
            solver=trial.part("solver") if "solver" in declared else None,
            serial=serial_spec(),
            start_id=start,
            device=self.device_kind,
        )
        return spec.scored(self.reference(trial.dataset).id, self.extractor) if scores else spec

    def reference(self, card: DatasetCard) -> Task:
        """Return the task that takes the reference set's statistics."""
        spec = ReferenceSpec(data=self.data[card.name], extractor=self.extractor, device=self.device_kind)
        return self._add(spec, f"reference of {card.name}")

    def solution(self, trial: Trial) -> Task | None:
        """Return the task by whose states those of a trial are judged, shared by all trials on its network and noise.

        None where the suite does not ask for it, or the trial's solver does not follow the probability flow.
        """
        return self._solved_out(trial, {}, {})

    def own_solution(self, trial: Trial) -> Task | None:
        """Return the task that solves out the flow of the network that a trial's denoiser was tuned to.

        None where `solution` is, and where tuning leaves no flow of its own.
        """
        denoiser = trial.parts["denoiser"]
        assert isinstance(denoiser, Denoiser)
        if not denoiser.own_flow:
            return None
        return self._solved_out(trial, {"denoiser": denoiser}, {"denoiser": trial.artifacts["denoiser"]})

    def _solved_out(self, trial: Trial, own: Mapping[str, Method], artifacts: Mapping[str, str]) -> Task | None:
        wanted, solver = self.suite.truncation, trial.parts["solver"]
        assert isinstance(solver, Solver)
        if wanted is None or solver.stochastic:
            return None
        parts = {**{part: registry().make(part, name, {}) for part, name in _REFERENCE_SOLUTION.items()}, **own}
        solved = replace(trial, parts=parts, steps=wanted.steps, artifacts=dict(artifacts))
        spec = ReferenceSolutionSpec(sampler=solved.sampler, n=self._compared_images(trial))
        return self._add(spec, f"reference solution of {trial.network.name} on {trial.dataset.name}")

    def samples(self, trial: Trial) -> list[Task]:
        """Return the tasks that make a trial's images in units, cut at multiples of the sampling batch.

        One makes the images that are compared with a reference solution, up to the end of a unit, the other the rest.
        """
        if id(trial) not in self._samples:
            self._samples[id(trial)] = trial, self._cut(trial)
        return self._samples[id(trial)][1]

    def _cut(self, trial: Trial) -> list[Task]:
        size, n = unit_images(trial), trial.n_images
        solutions = {"solution_id": self.solution(trial), "own_solution_id": self.own_solution(trial)}
        ids = {name: task.id for name, task in solutions.items() if task is not None}
        upto = min(-(-self._compared_images(trial) // size) * size, n) if ids else 0
        plain = self._images(trial)
        parts = ((plain.model_copy(update=ids), Cut(0, upto, size)), (plain, Cut(upto, n, size)))
        return [self._cut_task(trial, spec, cut) for spec, cut in parts if len(cut)]

    def _cut_task(self, trial: Trial, spec: SampleSpec, cut: Cut) -> Task:
        label, seconds = f"sample {trial.short}", self.suite.deadline_seconds
        return self._keep(Task(spec_id(spec), spec, label, cut, deadline_seconds=seconds))

    def score(self, trial: Trial) -> Task:
        """Return the task that scores a trial's images."""
        spec = ScoreSpec(
            images_id=spec_id(self._images(trial)),
            images_by_task=tuple(CutImages(task_id=task.id, cut=task.cut) for task in self.samples(trial) if task.cut),
            reference_id=self.reference(trial.dataset).id,
            n_images=trial.n_images,
            groups=GROUPS,
        )
        return self._add(spec, f"score {trial.short}")

    def _images(self, trial: Trial) -> SampleSpec:
        return SampleSpec(sampler=trial.sampler, extractor=self.extractor)

    def _compared_images(self, trial: Trial) -> int:
        """Return how many images, the first ones, a reference solution holds."""
        return 0 if self.suite.truncation is None else min(self.suite.truncation.images, trial.n_images)

    def time(self, trial: Trial, clock: Trial) -> Task:
        """Return the task that times a trial, interleaved with the clock trial, once it is scored."""
        timing = self.suite.timing
        spec = TimeSpec(
            sampler=trial.sampler,
            clock=clock.sampler,
            tier=timing.tier,
            batch=min(timing.batch or trial.batch, trial.n_images),
            n_images=trial.n_images,
            device_name=self.device_name,
        )
        return self._add(spec, f"time {trial.short}", after=(self.score(trial).id,))

    def _add(self, spec: Spec, label: str, after: tuple[str, ...] = ()) -> Task:
        return self._keep(Task(spec_id(spec), spec, label, after=after, deadline_seconds=self.suite.deadline_seconds))

    def _keep(self, task: Task) -> Task:
        return self.tasks.setdefault(task.id, task)


def unit_images(trial: Trial) -> int:
    """Return how many images a unit of a trial's sampling makes; it depends on the trial alone."""
    solver = trial.parts["solver"]
    assert isinstance(solver, Solver)
    batch = trial.batch * trial.steps * solver.evaluations_per_step
    return trial.batch * max(1, math.ceil(UNIT_EVALUATIONS / batch))
