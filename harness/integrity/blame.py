"""Which method a unit ran, by the names that a person knows: "solver/ddim"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.specs.base import Spec
from harness.specs.prepare import PrepareSpec
from harness.specs.sampler import SamplerSpec

_SHIPPED = "methods"


def methods_of(spec: Spec) -> dict[str, str]:
    """Return the methods and the network whose code a unit runs, by name, each with its module."""
    return dict(_methods(spec))


def blamed(spec: Spec, makers: Iterable[str]) -> str:
    """Return who did it: methods whose modules made what was found, else those from outside, else all that ran."""
    ran, made = methods_of(spec), set(makers)
    own = [name for name, module in ran.items() if module in made]
    outside = [name for name, module in ran.items() if module.partition(".")[0] != _SHIPPED]
    return " or ".join(own or outside or ran) or f"the task {spec.kind}"


def _methods(spec: Spec) -> Iterator[tuple[str, str]]:
    sampler = getattr(spec, "sampler", None)
    if isinstance(sampler, SamplerSpec):
        for part, one in sampler.parts().items():
            yield f"{part}/{one.name}", one.module
    if isinstance(spec, PrepareSpec):
        yield f"{spec.part}/{spec.method.name}", spec.method.module
        for part, other in (("schedule", spec.schedule), ("solver", spec.solver)):
            if other is not None:
                yield f"{part}/{other.name}", other.module

    model = getattr(sampler, "model", None) or getattr(spec, "model", None)
    network = getattr(model, "network", None) or getattr(spec, "network", None)
    if network is not None:
        yield f"network/{network.name}", network.module
