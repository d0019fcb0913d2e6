"""One sampler by hand: a network and four parts by name, built by the very function that every worker uses."""

from __future__ import annotations

from typing import Any

import torch

from harness.data.cards import load_card
from harness.errors import UsageError
from harness.network_cards import NetworkCard, build_network, load_network_card
from harness.plan_checks import refuse
from harness.registry import registry
from harness.sampling.build import build_sampler
from harness.sampling.numerics import fix_numerics, state_dtype
from harness.sampling.sampler import AUTOCAST, Sampler
from harness.suite import Part
from harness.zoo.card import PREFIX, load_zoo_card
from harness.zoo.stored import read_weights
from methods.networks.base import Network

PRECISIONS = ("float32", "float64", *AUTOCAST)


def make_sampler(
    network: str,
    *,
    steps: int,
    dataset: str | None = None,
    denoiser: str | dict[str, Any] = "full",
    schedule: str | dict[str, Any] = "edm",
    solver: str | dict[str, Any] = "ddim",
    executor: str | dict[str, Any] = "serial",
    precision: str = "float32",
    seed_set: int = 0,
    device: str | None = None,
) -> Sampler:
    """Return a sampler: `sampler.images(range(4))` are the first four images of a suite's row with these parts.

    `network` is "zoo:NAME", whose card names the data set, or an exact network with its data set. A part is a name, or
    its name with its parameters, as in a suite. By default it runs on a GPU where there is one, in IEEE float32 on one
    thread. Raises UsageError for what cannot stand together, and for a part that must be prepared, which a suite does.
    """
    if precision not in PRECISIONS:
        raise UsageError(f'precision is "{precision}"; expected one of {", ".join(PRECISIONS)}')
    card, net = _cards(network, dataset)
    given = {"denoiser": denoiser, "schedule": schedule, "solver": solver, "executor": executor}
    wanted = {p: Part(name=part) if isinstance(part, str) else Part(**part) for p, part in given.items()}
    made = {p: registry().make(p, part.name, part.params) for p, part in wanted.items()}
    refuse(made, net, steps)
    for method in made.values():
        if method.prepares:
            raise UsageError(
                f'{method.part} "{method.name}" must be prepared before its first image; run it in a suite, which does'
            )
        if method.device_group() > 1:
            raise UsageError(f'{method.part} "{method.name}" runs on several devices; run it in a suite')
    spec = {
        "dataset": load_card(card).model_dump(mode="json"),
        "parts": {p: {"name": m.name, "params": m.params.model_dump(mode="json")} for p, m in made.items()},
        "steps": steps,
        "precision": precision,
        "seed_set": seed_set,
    }
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    fix_numerics(where, threads=1)
    return build_sampler(spec, {}, lambda: _network(network, card, net).to(where, state_dtype(precision)), where)


def _cards(network: str, dataset: str | None) -> tuple[str, NetworkCard]:
    """Return the name of the data set and the card of the network."""
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


def _network(network: str, card: str, net: NetworkCard) -> Network:
    built = build_network(net, load_card(card).shape())
    if network.startswith(PREFIX):
        built.load_state_dict(read_weights(network.removeprefix(PREFIX)))
    return built.eval().requires_grad_(False)
