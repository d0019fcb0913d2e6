"""The tasks of a suite, each once, under the identity of everything that decides its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.identity import file_sha256, identity
from harness.network_cards import NetworkCard
from harness.registry import registry
from harness.sources import code_sha256, library_versions
from harness.suite import Suite
from harness.tasks import Task
from harness.training.spec import TrainSpec
from harness.trial import Trial
from harness.zoo.card import PREFIX, weights_path
from harness.zoo.fit import zoo_entry
from methods.parts import Denoiser, Method, Solver

_SHARD_BATCHES = 5
_GROUPS = 20
_CODE = {
    "train": ("harness.tasks.train",),
    "prepare": ("harness.tasks.prepare", "harness.sampling.build", "harness.sampling.numerics"),
    "reference": ("harness.tasks.reference", "harness.metrics.extractors"),
    "fine": ("harness.tasks.fine", "harness.sampling.numerics"),
    "sample": ("harness.tasks.sample", "harness.metrics.extractors", "harness.sampling.numerics"),
    "score": ("harness.tasks.score",),
    "time": ("harness.tasks.time", "harness.sampling.numerics"),
}
"""The modules whose code a kind of task runs, beside that of its sampler and of the methods."""
_SCORES = ("harness.metrics.extractors", "harness.metrics.feature_networks")
NO_PRICE = {"seconds": 0.0, "flops": 0}
"""Of weights that a file holds: what they cost is not known here, and nothing is spent on them."""
_FINE = {"denoiser": "full", "schedule": "edm", "solver": "heun", "executor": "serial"}


class TaskBook:
    """Makes tasks and keeps each one once, by id. Tasks that two trials share are the same task."""

    def __init__(self, suite: Suite, device_class: str, device_name: str, extractor: dict[str, Any]) -> None:
        self.suite = suite
        self.device_class = device_class
        self.device_name = device_name
        self.extractor = extractor
        self.data_facts: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, Task] = {}
        self._given: dict[str, Task] = {}

    @property
    def device_kind(self) -> str:
        """Return "cpu" or "cuda"."""
        return self.device_class.partition(":")[0]

    def train(self, card: DatasetCard, net: NetworkCard) -> Task | None:
        """Return the task that makes a network's weights, or None for a network that needs none."""
        family = registry().network(net.family)
        if not family.trainable:
            return None
        if net.weights is not None:
            return self._given_weights(card, net, net.weights)
        if net.train is None:
            raise UsageError(f'network "{net.name}" has neither [train] nor weights; give it one of them')
        if net.train.zero_stage == 3 and not family.scatters:
            raise UsageError(f'network "{net.name}" slices its weights, which stage 3 scatters; set zero_stage below 3')
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
            "device": self.device_kind,
            **_code("train", family.__module__),
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

    def _given_weights(self, card: DatasetCard, net: NetworkCard, weights: str) -> Task:
        """Return the task of weights that a file holds; the file is read once, whatever happens to it afterwards."""
        key = identity([card.name, net.model_dump(mode="json")])
        if key not in self._given:
            self._given[key] = self._read_given(card, net, weights)
        return self._add(self._given[key])

    def _read_given(self, card: DatasetCard, net: NetworkCard, weights: str) -> Task:
        if weights.startswith(PREFIX):
            found = zoo_entry(weights, card, net)
            path, sha256, price = weights_path(found.name), found.sha256, found.price()
        else:
            path, price = Path(weights), NO_PRICE
            if not path.is_file():
                raise UsageError(f'network "{net.name}": weights {path} do not exist; expected a safetensors file')
            sha256 = file_sha256(path)
        spec = {
            "path": str(path),
            "sha256": sha256,
            "price": price,
            "dataset": card.model_dump(mode="json"),
            "network": net.model_dump(mode="json"),
        }
        facts = {"weights": sha256, "price": price, "family": net.family, "params": net.params, "dataset": card.name}
        return Task(identity(facts), "weights", f"check the weights of {net.name}", spec)

    def exact_id(self, card: DatasetCard, net: NetworkCard) -> str:
        """Return what stands for the weights of an exact network."""
        return identity({"exact": net.family, "params": net.params, "dataset": self.data_facts[card.name]})

    def prepare(self, trial: Trial, part: str) -> Task:
        """Return the task that prepares the method of one part; shared by all trials it does not depend on.

        `trial.artifacts` names the preparations of other parts that this one may depend on.
        """
        method: Method = trial.parts[part]
        params = method.params.model_dump(mode="json")
        others = {p: artifact for p, artifact in trial.artifacts.items() if p in method.prepares_for}
        seen = replace(
            trial, artifacts=others, parts={**trial.parts, "executor": registry().make("executor", "serial", {})}
        )
        depends = {"steps": trial.steps, **{p: seen.parts_facts()[p] for p in ("schedule", "solver")}}
        base = method.begins_with()
        first = self.prepare(replace(trial, parts={**trial.parts, part: base}), part) if base else None
        reference = self.reference(trial.dataset) if method.scores else None
        facts: dict[str, Any] = {
            "kind": "prepare",
            "dataset": trial.data_facts,
            "weights": trial.weights_id,
            "on": {key: depends[key] for key in method.prepares_for},
            "precision": trial.precision,
            "device": self.device_kind,
            **_code("prepare", type(method).__module__, *(_SCORES if reference else ())),
            **({"start": first.id} if first else {}),
            **({"reference": reference.id} if reference else {}),
        }
        decides = {name: value for name, value in params.items() if name not in method.sampling_only}
        jobs = {name: value for name, value in decides.items() if name not in method.search_only}
        asked = {**facts, "method": {"name": method.name, "params": jobs}}
        if method.jobs_for is not None:
            asked["on"] = {key: depends[key] for key in method.jobs_for}
            asked = {key: value for key, value in asked.items() if key != "reference"}
        searches = type(method).next_jobs is not Method.next_jobs
        spec = {
            "sampler": seen.sampler_facts(),
            "part": part,
            "method": {"name": method.name, "params": params},
            "seed": 0,
            **({"start": first.id} if first else {}),
            **({"reference": reference.id, "extractor": self.extractor} if reference else {}),
            **({"jobs": identity(asked)} if searches else {}),
        }
        train = self.train(trial.dataset, trial.network)
        needs = (*(task.id for task in (train, first, reference) if task), *others.values())
        task_id = identity({**facts, "method": {"name": method.name, "params": decides}})
        label = f"prepare {method.name} for {trial.short}"
        return self._add(Task(task_id, "prepare", label, spec, needs, deadline_seconds=self.suite.deadline_seconds))

    def reference(self, card: DatasetCard) -> Task:
        """Return the task that takes the reference set's statistics."""
        facts = {
            "kind": "reference",
            "dataset": self.data_facts[card.name],
            "split": card.reference,
            "extractor": self.extractor["sha256"],
            "name": self.extractor["name"],
            "device": self.device_kind,
            **_code("reference"),
        }
        spec = {"dataset": card.model_dump(mode="json"), "extractor": self.extractor}
        return self._add(Task(identity(facts), "reference", f"reference of {card.name}", spec))

    def fine(self, trial: Trial) -> Task | None:
        """Return the task by whose states those of a trial are judged, shared by all trials on its network and noise.

        None where the suite does not ask for it, or the trial's solver does not follow the probability flow.
        """
        return self._solved_out(trial, {}, {})

    def own_fine(self, trial: Trial) -> Task | None:
        """Return the task that solves out the flow of the network that a trial's denoiser was tuned to.

        None where `fine` is, and where tuning leaves no flow of its own.
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
        parts = {**{part: registry().make(part, name, {}) for part, name in _FINE.items()}, **own}
        solved = replace(trial, parts=parts, steps=wanted.steps, artifacts=dict(artifacts))
        n = min(wanted.images, trial.n_images)
        facts = {"kind": "fine", "images": solved.images_id(), "n": n, **_code("fine")}
        train = self.train(trial.dataset, trial.network)
        return self._add(
            Task(
                identity(facts),
                "fine",
                f"fine solution of {trial.network.name} on {trial.dataset.name}",
                {"sampler": solved.sampler_facts(), "n": n},
                (*([train.id] if train else []), *artifacts.values()),
                deadline_seconds=self.suite.deadline_seconds,
            )
        )

    def shards(self, trial: Trial) -> list[Task]:
        """Return the tasks that make a trial's images, cut at multiples of the sampling batch."""
        images, size = trial.images_id(), _SHARD_BATCHES * trial.batch
        needs = [*trial.artifacts.values()]
        train = self.train(trial.dataset, trial.network)
        if train:
            needs.append(train.id)
        solutions = {"fine": self.fine(trial), "own_fine": self.own_fine(trial)}
        shards = []
        for start in range(0, trial.n_images, size):
            stop = min(start + size, trial.n_images)
            compared = {name: fine.id for name, fine in solutions.items() if fine and start < fine.spec["n"]}
            facts = {
                "kind": "sample",
                "images": images,
                "start": start,
                "stop": stop,
                "extractor": self.extractor["sha256"],
                "name": self.extractor["name"],
                **compared,
                **_code("sample"),
            }
            spec = {
                "sampler": trial.sampler_facts(),
                "extractor": self.extractor,
                "start": start,
                "stop": stop,
                "deadline_seconds": self.suite.deadline_seconds,
                **compared,
            }
            label = f"sample {trial.short} [{start}, {stop})"
            shards.append(
                self._add(
                    Task(
                        identity(facts),
                        "sample",
                        label,
                        spec,
                        (*needs, *compared.values()),
                        ranks=trial.devices,
                        deadline_seconds=self.suite.deadline_seconds,
                    )
                )
            )
        return shards

    def score(self, trial: Trial) -> Task:
        """Return the task that scores a trial's images."""
        needs = (*(shard.id for shard in self.shards(trial)), self.reference(trial.dataset).id)
        spec = {"n_images": trial.n_images, "groups": _GROUPS}
        return self._add(Task(self.score_id(trial), "score", f"score {trial.short}", spec, needs))

    def score_id(self, trial: Trial) -> str:
        """Return the identity of a trial's quality figures."""
        return identity(
            {
                "kind": "score",
                "images": trial.images_id(),
                "n": trial.n_images,
                "groups": _GROUPS,
                **_code("score"),
                "reference": self.reference(trial.dataset).id,
            }
        )

    def time_id(self, trial: Trial, clock: Trial) -> str:
        """Return the identity of a trial's timing block against the clock trial on this device."""
        return identity(
            {
                "kind": "time",
                "images": trial.images_id(),
                "clock": clock.images_id(),
                **_code("time"),
                "timing": self.suite.timing.model_dump(mode="json"),
                "device": self.device_name,
                "n": trial.n_images,
            }
        )

    def time(self, trial: Trial, clock: Trial) -> Task:
        """Return the task that times a trial, interleaved with the clock trial."""
        needs = {self.score_id(trial), *trial.artifacts.values(), *clock.artifacts.values()}
        for t in (trial, clock):
            train = self.train(t.dataset, t.network)
            needs |= {train.id} if train else set()
        task_id = self.time_id(trial, clock)
        batch = min(self.suite.timing.batch or trial.batch, trial.n_images)
        spec = {
            "sampler": trial.sampler_facts(),
            "clock": clock.sampler_facts(),
            "tier": self.suite.timing.tier,
            "batch": batch,
            "n_images": trial.n_images,
            "order_seed": int(task_id[:8], 16),
            "deadline_seconds": self.suite.deadline_seconds,
        }
        return self._add(
            Task(
                task_id,
                "time",
                f"time {trial.short}",
                spec,
                tuple(sorted(needs)),
                ranks=trial.devices,
                exclusive=True,
                deadline_seconds=self.suite.deadline_seconds,
            )
        )

    def _add(self, task: Task) -> Task:
        return self.tasks.setdefault(task.id, task)


def decisive(train: TrainSpec) -> dict[str, Any]:
    """Return the training settings that decide the weights: all but how often a checkpoint is kept."""
    return {k: v for k, v in train.model_dump(mode="json").items() if k != "checkpoint_every"}


def _code(kind: str, *others: str) -> dict[str, Any]:
    """Return what identifies the code of a kind of task and of further modules: a hash, and versions of libraries."""
    modules = (*_CODE[kind], *others)
    return {"code": code_sha256(*modules), "libraries": library_versions(*modules)}
