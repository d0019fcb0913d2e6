"""One sampler by hand: a network and four parts by name, built as workers build it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from harness.config.network_card import NetworkCard, load_network_card
from harness.config.suite import PartEntry
from harness.config.zoo_card import PREFIX, load_zoo_card
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.planning.checks import check_compatible
from harness.planning.level_range import level_range
from harness.planning.schedule_levels import check_levels
from harness.planning.trial import make_part, part_spec, serial_spec
from harness.planning.zoo_networks import read_weights
from harness.registry import registry
from harness.sampling.build import build_sampler
from harness.sampling.evaluator import AUTOCAST
from harness.sampling.numerics import fix_numerics
from harness.sampling.place import ModelCache, Place
from harness.sampling.sampler import Sampler
from harness.specs.base import Output
from harness.specs.sampler import ModelSpec, SamplerSpec
from harness.task import Inputs, Result

PartChoice = str | Mapping[str, Any]
"""A part by name, or by its name with its parameters."""
PRECISIONS = ("float32", "float64", *AUTOCAST)


def assemble_sampler(
    network: str,
    *,
    steps: int,
    dataset: str | None = None,
    denoiser: PartChoice = "full",
    schedule: PartChoice = "edm",
    solver: PartChoice = "ddim",
    executor: PartChoice = "serial",
    precision: str = "float32",
    seed_set: int = 0,
    device: str | None = None,
) -> Sampler:
    """Return a sampler. `sampler.images(range(4))` are a suite's first four images with these parts.

    `network` is "zoo:NAME", whose card names the data set, or an exact network with its data set.
    A part is a name, or its name with its parameters, as in a suite. By default it runs on a GPU
    if there is one, in IEEE float32 on one thread. Raises UsageError for parts that do not fit
    together, and for a part that must be prepared.
    """
    # the network, its weights and the parts
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UsageError(f"steps is {steps!r}; expected a whole number, 1 or more")
    if precision not in PRECISIONS:
        raise UsageError(f'precision is "{precision}"; expected one of {", ".join(PRECISIONS)}')
    card, net = _cards(network, dataset)
    weights, inputs = _weights(network)
    given = {"denoiser": denoiser, "schedule": schedule, "solver": solver, "executor": executor}
    wanted = {p: PartEntry(name=part) if isinstance(part, str) else PartEntry(**part) for p, part in given.items()}
    made = {p: make_part(p, part.name, part.params) for p, part in wanted.items()}

    # combinations that only a suite can run
    check_compatible(made, net, steps)
    for method in made.values():
        if method.prepares:
            raise UsageError(
                f'{method.part} "{method.name}" must be prepared before its first image; run it in a suite, which does'
            )
        if method.device_group() > 1:
            raise UsageError(f'{method.part} "{method.name}" runs on several devices; run it in a suite')

    # levels
    data = load_card(card)
    range_ = level_range(net, data)
    check_levels(made["schedule"], steps, range_, data.name)

    # as a worker would build it
    parts: dict[str, Any] = {name: part_spec(method) for name, method in made.items()}
    spec = SamplerSpec(
        model=ModelSpec(data=data.spec(), network=net.spec(), weights_id=weights, precision=precision),
        **parts,
        serial=serial_spec(),
        # levels and noise
        steps=steps,
        sigma_min=range_.low,
        sigma_max=range_.high,
        batch=1,
        seed_set=seed_set,
        device="",
        devices=1,
    )

    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    fix_numerics(where, threads=1)
    return build_sampler(spec, inputs, Place(where, ModelCache()))


def _cards(network: str, dataset: str | None) -> tuple[str, NetworkCard]:
    """Return the data set's name and the network's card.

    Raise UsageError if they do not fit or are not named.
    """
    if network.startswith(PREFIX):
        entry = load_zoo_card(network.removeprefix(PREFIX))
        if dataset not in (None, entry.data.name):
            raise UsageError(f'{network} was trained on "{entry.data.name}"; found dataset = "{dataset}", leave it out')
        return entry.data.name, entry.network
    net = load_network_card(network)
    if registry().network(net.family).trainable:
        raise UsageError(f'network "{network}" has no weights yet; expected one of the zoo, as "{PREFIX}{network}"')
    if dataset is None:
        raise UsageError(f'network "{network}" is exact for a data set; name one, such as dataset="gaussian"')
    return dataset, net


def _weights(network: str) -> tuple[str | None, Inputs]:
    """Return the weights' name and the inputs that hold them; an exact network has neither."""
    if not network.startswith(PREFIX):
        return None, Inputs({})
    state = read_weights(network.removeprefix(PREFIX))
    return network, Inputs({network: Result(Output(), {name: value.numpy() for name, value in state.items()})})
