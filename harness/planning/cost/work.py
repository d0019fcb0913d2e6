"""How much work a task is, in units that runs of other sizes share, and under which keys its rate is kept.

Keys go from the most specific to the most general: a new step count of a known method is predicted from the method's
other step counts, a new method from its network. Seeds and trainings are in no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.identity import content_hash
from harness.registry import registry
from harness.specs.base import Json, Spec
from harness.specs.fidelity import FidelitySpec
from harness.specs.prepare import PrepareSpec
from harness.specs.reference import ReferenceSpec
from harness.specs.reference_solution import ReferenceSolutionSpec
from harness.specs.rules.timing import TierRules
from harness.specs.sample import SampleSpec
from harness.specs.sampler import DecoderSpec, ExtractorSpec, ModelSpec, PartSpec, SamplerSpec
from harness.specs.score import ScoreSpec
from harness.specs.time import TimeSpec
from harness.specs.train import TrainSpec
from harness.specs.weights import WeightsSpec
from harness.task import Task

BACKWARD = 3.0
"""Evaluations per training image: one forward, and twice that for the gradients."""
_UNKNOWN_EVALUATIONS = 10_000.0
"""Evaluations of a preparation whose parameters do not tell."""


@dataclass(frozen=True)
class Work:
    """The work of a whole task."""

    keys: tuple[str, ...]
    """Under which its seconds per unit of work are kept, the most specific first."""
    amount: float
    model: ModelSpec | None = None
    """The network that does it, if one does."""
    evaluations: float = 0.0
    """Network evaluations on each device, summed over images; exact for sampling, else as far as parameters say."""
    precision: str = "float32"
    """The number format in which the network runs."""
    decoder: DecoderSpec | None = None
    """What makes pictures of the states, if they are latents."""
    decoded: float = 0.0
    """Images that it makes."""


def task_work(task: Task, tasks: Mapping[str, Task]) -> Work:
    """Return the work of a task of any kind but a timing's rounds; `tasks` are all of its plan, by id."""
    spec = task.spec
    if isinstance(spec, SampleSpec):
        assert task.cut is not None
        return _sampling_work(spec, task.cut.stop - task.cut.start)
    if isinstance(spec, ReferenceSolutionSpec):
        amount, net = spec.n * evaluations_per_image(spec.sampler), network_key(spec.sampler.model)
        key = f"reference-solution {net} {part_key(spec.sampler.denoiser)} {spec.sampler.steps}"
        return Work((key,), amount, spec.sampler.model, amount)
    if isinstance(spec, TrainSpec):
        return _training_work(spec)
    if isinstance(spec, PrepareSpec):
        return _preparation_work(spec)
    return _other_work(spec, tasks)


def _sampling_work(spec: SampleSpec, images: int) -> Work:
    sampler, net, features = spec.sampler, network_key(spec.sampler.model), spec.extractor.name
    denoiser, executor = part_key(sampler.denoiser), part_key(sampler.executor)
    amount = images * evaluations_per_image(sampler)
    keys = (
        f"sample {net} {denoiser} {part_key(sampler.solver)} {executor} {sampler.steps} {sampler.batch} {features}",
        f"sample {net} {denoiser} {executor} {features}",
        f"sample {net} {features}",
    )
    return Work(keys, amount, sampler.model, amount, sampler.model.precision, sampler.decoder, float(images))


def _training_work(spec: TrainSpec) -> Work:
    train = spec.train
    model = ModelSpec(data=spec.data, network=spec.network, weights_id=None, precision="float32")
    net, images = network_key(model), float(train.steps * train.batch)
    exact = f"train {net} {train.batch} {train.precision} {train.zero_stage} {spec.ranks()}"
    return Work((exact, f"train {net}"), images, model, BACKWARD * images / spec.ranks(), train.precision)


def _preparation_work(spec: PrepareSpec) -> Work:
    net, params = network_key(spec.model), spec.params()
    parts = [part_key(part) for part in (spec.schedule, spec.solver) if part is not None]
    steps = "-" if spec.steps is None else str(spec.steps)
    kind = "prepare" if spec.job is None else "job"
    spread = [] if spec.ranks() == 1 else [f"on {spec.ranks()}"]
    exact = " ".join([kind, net, part_key(spec.method), steps, *parts, *spread])
    evaluations = preparation_evaluations(params, spec.steps or 1)
    amount = 1.0 if spec.job is not None or spec.jobs is not None else evaluations
    keys = (exact, f"{kind} {net} {spec.method.name}")
    return Work(keys, amount, spec.model, evaluations / spec.ranks())


def _other_work(spec: Spec, tasks: Mapping[str, Task]) -> Work:
    if isinstance(spec, ReferenceSpec):
        features = spec.extractor.name
        if spec.statistics is not None or spec.shipped is not None:
            return Work((f"statistics {features}", "statistics"), 1.0)
        keys = (f"reference {spec.data.name} {features}", f"reference {features}")
        return Work(keys, float(max(spec.data.splits.get(spec.data.reference, 1), 1)))
    if isinstance(spec, ScoreSpec):
        extractor = scored_extractor(spec, tasks)
        features = "-" if extractor is None else extractor.name
        return Work((f"score {features} {spec.n_images}", f"score {features}"), float(spec.n_images))

    # images compared in pairs, weights that are read
    if isinstance(spec, FidelitySpec):
        kind = "fidelity" if spec.backbone is None else "fidelity-lpips"
        return Work((f"{kind} {spec.n_images}", kind), float(spec.n_images))
    if isinstance(spec, WeightsSpec):
        model = ModelSpec(data=spec.data, network=spec.network, weights_id=None, precision="float32")
        return Work((f"weights {network_key(model)}", "weights"), 1.0)
    return Work((spec.kind,), 1.0)


def round_work(spec: TimeSpec) -> Work:
    """Return the work of one round of a timing: trial and clock are called once per kind, so once a batch."""
    trial, net = spec.sampler, network_key(spec.sampler.model)
    denoiser, executor = part_key(trial.denoiser), part_key(trial.executor)
    amount = evaluations_per_image(trial) + evaluations_per_image(spec.clock)
    exact = f"{net} {denoiser} {part_key(trial.solver)} {executor} {trial.steps} {spec.batch} {spec.clock.steps}"
    keys = (f"round {exact}", f"round {net} {denoiser} {executor} {spec.batch}", f"round {net} {spec.batch}")
    images = spec.batch + 1
    return Work(keys, amount, trial.model, amount * images, trial.model.precision, trial.decoder, 2.0 * images)


def warm_up_seconds(tier: TierRules, round_seconds: float) -> float:
    """Return the seconds of a warm-up: each kind of call of trial and clock so often, or so long."""
    return max(tier.warm_up_calls * round_seconds, 4 * tier.warm_up_seconds)


def rest_keys(spec: TimeSpec) -> tuple[str, ...]:
    """Return the keys of what a timing takes besides its warm-up and its blocks."""
    return f"rest {spec.tier} {part_key(spec.sampler.executor)}", f"rest {spec.tier}"


def search_key(spec: PrepareSpec) -> tuple[str, ...]:
    """Return the keys of how many jobs a search does."""
    whole = spec.method.model_copy(update={"params": spec.params()})
    return f"jobs {network_key(spec.model)} {part_key(whole)} {spec.steps}", f"jobs {spec.method.name}"


def network_key(model: ModelSpec) -> str:
    """Return a name of an architecture on images of a shape in a number format, whatever its weights."""
    data, net = model.data, model.network
    shape = [net.family, net.params, *data.state_shape[:2], model.precision]
    return f"{net.name}-{content_hash(shape)[:8]}"


def part_key(part: PartSpec) -> str:
    """Return a name of a method with its parameters, its seed left out."""
    params = {name: value for name, value in part.params.items() if name != "seed"}
    return f"{part.name}-{content_hash(params)[:6]}" if params else part.name


def evaluations_per_image(sampler: SamplerSpec) -> int:
    """Return the network evaluations that an image takes as its solver declares them; what runs may differ."""
    solver: Any = registry().make("solver", sampler.solver.name, sampler.solver.params)
    schedule: Any = registry().make("schedule", sampler.schedule.name, sampler.schedule.params)
    denoiser: Any = registry().make("denoiser", sampler.denoiser.name, sampler.denoiser.params)
    once = sampler.steps * int(solver.evaluations_per_step) + int(schedule.denoises_last)
    return once * (1 + (denoiser.guidance.guidance != 1))


def preparation_evaluations(params: Json, steps: int) -> float:
    """Return about how many evaluations a preparation takes, from parameters that are named by what they count.

    `NAME_steps` and `NAME_batch` are a tuning's; `NAME_images` are made in the trial's steps, once a round,
    or once for each member of each generation.
    """
    sizes = {name: value for name, value in params.items() if isinstance(value, int) and not isinstance(value, bool)}
    tuned = sum(sizes[name] * sizes.get(name.replace("steps", "batch"), 1) for name in sizes if name == "tune_steps")
    made = sum(value for name, value in sizes.items() if name == "images" or name.endswith("_images")) * steps
    repeated = sizes.get("rounds", 1) * sizes.get("population", 1) * sizes.get("generations", 1)
    return BACKWARD * tuned + made * repeated or _UNKNOWN_EVALUATIONS


def scored_extractor(spec: ScoreSpec, tasks: Mapping[str, Task]) -> ExtractorSpec | None:
    """Return the feature network of a score, named by the reference that it reads."""
    reference = tasks.get(spec.reference_id)
    return reference.spec.extractor if reference is not None and isinstance(reference.spec, ReferenceSpec) else None
