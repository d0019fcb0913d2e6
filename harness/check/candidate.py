"""The method that is checked, and what it is checked with: a network of the zoo, and the usual other parts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.config.network_card import NetworkCard, load_network_card
from harness.config.settings import apply_settings
from harness.config.suite import TrialEntry
from harness.config.zoo_card import PREFIX, ZooCard, load_zoo_card, zoo_names
from harness.errors import UsageError, did_you_mean
from harness.planning.checks import check_compatible
from harness.registry import registry
from methods.parts import PARTS, Method

DATASET = "digits"
"""The data set whose networks are tried, where none is named."""
EXACT_DATASET, EXACT_NETWORK = "gaussian-mixture", "analytic"
"""Data whose exact denoiser is known, while its flow is not straight."""
CHECKED_STEPS = 10
_USUAL_FAMILY = "unet"
Parts = dict[str, Method]


@dataclass(frozen=True)
class Candidate:
    """A method with the network, the other parts and the number of steps that it is checked with."""

    part: str
    parts: Parts
    zoo_card: ZooCard
    steps: int

    @property
    def method(self) -> Method:
        """Return the method that is checked."""
        return self.parts[self.part]

    @property
    def network(self) -> str:
        """Return the name of the trained network."""
        return self.zoo_card.network.name

    @property
    def dataset(self) -> str:
        """Return the name of the data set that the network was trained on."""
        return self.zoo_card.data.name

    @property
    def prepares(self) -> bool:
        """Tell whether a part is prepared before the first image."""
        return any(method.prepares for method in self.parts.values())

    @property
    def companions(self) -> dict[str, str]:
        """Return the names of the other parts, by part."""
        return {part: self.parts[part].name for part in PARTS if part != self.part}

    def exact_refusal(self) -> str:
        """Return why the parts are not run with the exact network; "" where they are."""
        if self.prepares:
            return "what is prepared is prepared once, for the trained network"
        try:
            check_compatible(self.parts, load_network_card(EXACT_NETWORK), self.steps)
        except UsageError as error:
            return str(error)
        return ""


def find_candidate(name: str, settings: Sequence[str], network: str | None, steps: int) -> Candidate:
    """Return the method of NAME or PART/NAME, with parts and a network that it fits.

    `settings` are its parameters as KEY=VALUE, over its `check_params`; `network` is one of the zoo. UsageError for
    what does not exist, and where nothing fits.
    """
    if steps < 1:
        raise UsageError(f"--steps is {steps}; expected 1 or more")
    found = _find_class(name)
    given: dict[str, Any] = {}
    apply_settings(given, list(settings))
    params = {**found.check_params, **given}
    method = registry().make(found.part, found.name, params)
    if (devices := method.device_group()) > 1:
        raise UsageError(f"{method.name} needs {devices} devices at once; check has one, so set its parameters for one")

    cards = [load_zoo_card(network.removeprefix(PREFIX))] if network else _known_cards()
    parts, card = _choose_companions(method, cards, steps)
    return Candidate(method.part, parts, card, steps)


def usual_parts() -> dict[str, str]:
    """Return the names of the parts that a trial has where it names none."""
    return {part: str(TrialEntry.model_fields[part].default) for part in PARTS}


def _find_class(name: str) -> type[Method]:
    part, slash, own = name.partition("/")
    if slash:
        if part not in PARTS:
            raise UsageError(f'"{part}" is no part of a sampler; expected {", ".join(f"{p}/NAME" for p in PARTS)}')
        return registry().method(part, own)

    found = [method for method in registry().methods() if method.name == name]
    if len(found) > 1:
        places = [f"{method.part}/{name}" for method in found]
        raise UsageError(f'"{name}" names {len(found)} methods; expected {" or ".join(places)}')
    if found:
        return found[0]
    if name in registry().broken:
        raise UsageError(f'method "{name}" cannot be used: {registry().broken[name]}')
    hint = did_you_mean(name, {method.name for method in registry().methods()})
    raise UsageError(f'method "{name}" is unknown{hint} (see `oneclock ls methods`)')


def _known_cards() -> list[ZooCard]:
    """Return the first trainings of the data set's networks, the usual family first."""
    cards = (load_zoo_card(name) for name in zoo_names())
    known = [card for card in cards if card.training.seed == 0 and card.data.name == DATASET]
    return sorted(known, key=lambda card: (card.network.family != _USUAL_FAMILY, card.network.name))


def _choose_companions(method: Method, cards: Sequence[ZooCard], steps: int) -> tuple[Parts, ZooCard]:
    """Return the first parts and network that fit; else the UsageError of the usual ones."""
    refusals = []
    for parts in _list_companions(method):
        for card in cards:
            refusal = _refusal(parts, card.network, steps)
            if refusal is None:
                return parts, card
            refusals.append(refusal)
    tried = ", ".join(card.network.name for card in cards)
    raise UsageError(f"{refusals[0]}; tried {tried}, name another network by --network or other steps by --steps")


def _list_companions(method: Method) -> Iterator[Parts]:
    """Yield combinations with a method: the usual parts, then one other part changed, then two.

    Parts that prepare come last: they cost minutes.
    """
    usual = usual_parts()
    others = [part for part in PARTS if part != method.part]
    plain = {part: registry().make(part, usual[part], {}) for part in others}
    yield {method.part: method, **plain}

    for count in (1, 2):
        for changed in itertools.combinations(others, count):
            choices = [list(_without_parameters(part)) for part in changed]
            for chosen in sorted(itertools.product(*choices), key=lambda made: sum(one.prepares for one in made)):
                yield {method.part: method, **plain, **dict(zip(changed, chosen, strict=True))}


def _without_parameters(part: str) -> Iterator[Method]:
    """Yield the methods of a part that need no parameters."""
    for found in registry().methods(part):
        try:
            yield registry().make(part, found.name, {})
        except UsageError:
            continue


def _refusal(parts: Mapping[str, Method], net: NetworkCard, steps: int) -> str | None:
    try:
        check_compatible(dict(parts), net, steps)
    except UsageError as error:
        return str(error)
    return None
