"""One trial: a resolved combination of data, network, four parts, steps, precision and seeds, and its identities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_jsonable_python

from harness.data.cards import DatasetCard
from harness.identity import canonical_json, identity
from harness.network_cards import NetworkCard
from harness.registry import registry
from harness.sources import code_sha256, library_versions
from methods.parts import PARTS, Method

_SAMPLING = "harness.sampling.build"
_DEFAULTS = {"denoiser": "full", "schedule": "edm", "executor": "serial"}


@dataclass(frozen=True)
class Trial:
    """What is sampled, on what, how often; hashable facts only. `nfe` is not here: it is counted."""

    dataset: DatasetCard
    data_facts: dict[str, Any]
    network: NetworkCard
    weights_id: str
    parts: dict[str, Method]
    steps: int
    precision: str
    batch: int
    seed_set: int
    n_images: int
    extractor: dict[str, Any]
    device_class: str
    label: str | None = None
    control_of: tuple[str, ...] = ()
    optional: bool = False
    artifacts: dict[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Return the display name: the solver, with every part that is not the default, or the suite's own label."""
        if self.label is not None:
            return self.label
        part = {p: _part_name(self.parts[p], _DEFAULTS.get(p)) for p in PARTS}
        name = part["solver"] or ""
        if part["denoiser"]:
            name = f"{part['denoiser']}/{name}"
        if part["schedule"]:
            name = f"{name}@{part['schedule']}"
        return f"{name}/{part['executor']}" if part["executor"] else name

    @property
    def short(self) -> str:
        """Return the name a person types and reads: data set, method, steps, and what else distinguishes it."""
        seeds = f" seeds {self.seed_set}" if self.seed_set else ""
        return f"{self.dataset.name} {self.network.name} {self.method} {self.steps} steps{seeds}"

    @property
    def devices(self) -> int:
        """Return how many devices one sample needs at once."""
        return max(method.device_group() for method in self.parts.values())

    def parts_facts(self) -> dict[str, Any]:
        """Return name, parameters and artifact of each part, as JSON."""
        return {
            p: {
                "name": m.name,
                "params": m.params.model_dump(mode="json"),
                **({"artifact_id": self.artifacts[p]} if p in self.artifacts else {}),
            }
            for p, m in self.parts.items()
        }

    def sampler_facts(self) -> dict[str, Any]:
        """Return what a worker needs to build the sampler."""
        return {
            "dataset": self.dataset.model_dump(mode="json"),
            "network": self.network.model_dump(mode="json"),
            "weights_id": self.weights_id,
            "parts": self.parts_facts(),
            "steps": self.steps,
            "precision": self.precision,
            "batch": self.batch,
            "seed_set": self.seed_set,
        }

    def images_id(self) -> str:
        """Return the identity of the images: everything that decides their pixels."""
        family = registry().network(self.network.family)
        modules = (_SAMPLING, family.__module__, *(type(m).__module__ for m in self.parts.values()))
        return identity(
            {
                "dataset": self.data_facts,
                "weights": self.weights_id,
                "parts": self.parts_facts(),
                "code": [code_sha256(module) for module in modules],
                "steps": self.steps,
                "precision": self.precision,
                "batch": self.batch,
                "seed_set": self.seed_set,
                "device": self.device_class,
                "libraries": library_versions(*modules),
            }
        )

    def params_json(self) -> str:
        """Return the resolved parameters of the four parts as canonical JSON."""
        return canonical_json({p: m.params.model_dump(mode="json") for p, m in self.parts.items()})


def _part_name(method: Method, default: str | None) -> str | None:
    """Return a part's name with its non-default parameters in brackets, or None for the plain default part."""
    params = method.params.model_dump(mode="json")
    usual = type(method).Params
    defaults = {name: to_jsonable_python(field.default, fallback=repr) for name, field in usual.model_fields.items()}
    given = {k: v for k, v in params.items() if k not in defaults or defaults[k] != v}
    if not given and method.name == default:
        return None
    inside = ",".join(f"{key}={value}" for key, value in sorted(given.items()))
    return f"{method.name}({inside})" if inside else method.name
