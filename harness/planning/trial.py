"""One trial: a resolved combination of data, network, four parts, steps, precision and seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic_core import to_jsonable_python

from harness.config.network_card import NetworkCard
from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.identity import canonical_json
from harness.planning.level_range import LevelRange, level_range
from harness.registry import registry
from harness.schema.trial_name import trial_name
from harness.specs.sampler import ClassesSpec, DataSpec, DecoderSpec, Mode, ModelSpec, PartSpec, SamplerSpec
from methods.parts import PARTS, Denoiser, Method, Schedule, Solver

_DEFAULTS = {"denoiser": "full", "schedule": "edm", "executor": "serial"}


@dataclass(frozen=True)
class Trial:
    """All that decides a row of the suite.

    The evaluations (`nfe`) are not part of it: they are counted.
    """

    dataset: DatasetCard
    data: DataSpec
    network: NetworkCard
    weights_id: str | None
    """Id of the task that gives the weights; None for a network that needs none."""
    parts: dict[str, Method]
    steps: int
    precision: str
    batch: int
    classes: ClassesSpec | None
    """The law of the images' classes; None where they have none."""
    seed_set: int
    n_images: int
    device_class: str
    mode: Mode = "reproducible"
    """By which kernels it is sampled, and so scored and timed."""
    training: int = 0
    """Which training of the network, with its searches and tunings."""
    decoder: DecoderSpec | None = None
    """What makes pictures of its final states; None where states are pictures."""
    label: str | None = None
    control_of: tuple[str, ...] = ()
    optional: bool = False
    artifact_ids: dict[str, str] = field(default_factory=dict)
    """Ids of the tasks that prepare its parts, by part."""
    stored: dict[str, str] = field(default_factory=dict)
    """The stored preparations of its parts, as "zoo:NAME", by part."""
    shows_precision: bool = False
    """Whether its precision is not that of its suite, so that its name says which."""
    shows_dataset: bool = False
    """Whether its suite has several data sets, so that messages say which."""
    shows_training: bool = False
    """Whether its suite has several trainings."""

    @property
    def method(self) -> str:
        """Return the display name: the suite's label, else the solver with all parts but defaults.

        A precision that is not the suite's follows.
        """
        name = self._parts_name() if self.label is None else self.label
        return f"{name}/{self.precision}" if self.shows_precision else name

    def _parts_name(self) -> str:
        part = {p: _part_name(self.parts[p], _DEFAULTS.get(p)) for p in PARTS}
        name = part["solver"] or ""
        if part["denoiser"]:
            name = f"{part['denoiser']}/{name}"
        if part["schedule"]:
            name = f"{name}@{part['schedule']}"
        return f"{name}/{part['executor']}" if part["executor"] else name

    @property
    def printed_name(self) -> str:
        """Return the name in tables and figures, unique within a suite and a data set."""
        return trial_name(self.network.name, self.method, self.steps)

    @property
    def short(self) -> str:
        """Return the name in messages: the printed one, and whatever else the suite has several of."""
        dataset = f"{self.dataset.name} " if self.shows_dataset else ""
        training = f" training {self.training}" if self.shows_training else ""
        seeds = f" seeds {self.seed_set}" if self.seed_set else ""
        return f"{dataset}{self.printed_name}{training}{seeds}"

    @property
    def devices(self) -> int:
        """Return how many devices one sample needs at once."""
        return max(method.device_group() for method in self.parts.values())

    @property
    def model(self) -> ModelSpec:
        """Return the network with its weights, as the tasks' specs hold it."""
        return ModelSpec(
            data=self.data, network=self.network.spec(), weights_id=self.weights_id, precision=self.precision
        )

    @property
    def evaluations(self) -> int:
        """Return the network evaluations of an image as solver and schedule declare them; a row's nfe is counted."""
        solver, schedule = self.parts["solver"], self.parts["schedule"]
        assert isinstance(solver, Solver)
        assert isinstance(schedule, Schedule)
        once = self.steps * solver.evaluations_per_step + schedule.denoises_last
        return once * self.passes

    @property
    def passes(self) -> int:
        """Return the evaluations of a guided one, 2; 1 without guidance. Those outside of an interval count too."""
        denoiser = self.parts["denoiser"]
        assert isinstance(denoiser, Denoiser)
        return 1 + (denoiser.guidance.guidance != 1)

    @cached_property
    def level_range(self) -> LevelRange:
        """Return the range of levels that its network is sampled in."""
        return level_range(self.network, self.dataset)

    def level(self, factor: str) -> str:
        """Return the value of one of its fields as text: the level of a factor of a factorial design."""
        if factor in PARTS:
            return _part_name(self.parts[factor], None) or ""
        return str({"network": self.network.name, "steps": self.steps, "precision": self.precision}[factor])

    def part(self, name: str) -> PartSpec:
        """Return one of the four parts with its artifact, as the tasks' specs hold it."""
        return part_spec(self.parts[name], self.artifact_ids.get(name))

    @cached_property
    def sampler(self) -> SamplerSpec:
        """Return everything that decides the pixels of an image but its index."""
        return SamplerSpec(
            model=self.model,
            decoder=self.decoder,
            denoiser=self.part("denoiser"),
            schedule=self.part("schedule"),
            solver=self.part("solver"),
            executor=self.part("executor"),
            serial=serial_spec(),
            # levels, classes and noise
            steps=self.steps,
            sigma_min=self.level_range.low,
            sigma_max=self.level_range.high,
            classes=self.classes,
            batch=self.batch,
            seed_set=self.seed_set,
            device=self.device_class,
            devices=self.devices,
            mode=self.mode,
        )

    def params_json(self) -> str:
        """Return the resolved parameters of the four parts as canonical JSON."""
        return canonical_json({name: part_spec(method).params for name, method in self.parts.items()})


def make_part(part: str, name: str, params: dict[str, Any]) -> Method:
    """Return a method with its parameters; UsageError for a name that is unknown, or is one of another part."""
    found = registry()
    if name not in {method.name for method in found.methods(part)}:
        others = [other for other in PARTS if name in {method.name for method in found.methods(other)}]
        if others:
            article = "an" if others[0][0] in "aeiou" else "a"
            raise UsageError(f'"{name}" is {article} {others[0]}, not a {part}; name it as {others[0]} = "{name}"')
    return found.make(part, name, params)


def part_spec(method: Method, artifact: str | None = None) -> PartSpec:
    """Return a method with its parameters and its artifact, as the tasks' specs hold it."""
    params = method.params.model_dump(mode="json")
    return PartSpec(name=method.name, params=params, module=type(method).__module__, artifact_id=artifact)


def serial_spec() -> PartSpec:
    """Return the serial executor, with which parallel ones are compared."""
    return part_spec(registry().make("executor", "serial", {}))


def _part_name(method: Method, default: str | None) -> str | None:
    """Return a part's name with its changed parameters in brackets, or None for the default part."""
    params = method.params.model_dump(mode="json")
    usual = type(method).Params
    defaults = {name: to_jsonable_python(field.default, fallback=repr) for name, field in usual.model_fields.items()}
    given = {k: v for k, v in params.items() if k not in defaults or defaults[k] != v}
    if not given and method.name == default:
        return None
    inside = ",".join(f"{key}={value}" for key, value in sorted(given.items()))
    return f"{method.name}({inside})" if inside else method.name
