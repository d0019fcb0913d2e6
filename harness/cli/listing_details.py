"""The further line of each item that `ls -v` prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from harness.config.network_card import load_network_card, network_names
from harness.config.suite import load_suite
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.registry import registry

_INDENT = "    "


def add_details(what: str, lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines of a list, each followed by what else is known of its item.

    Raises UsageError for a kind of which no more is known than its line.
    """
    describe = _DETAILS.get(what)
    if describe is None:
        raise UsageError(f"of {what} the list has all that is known; expected -v with {', '.join(_DETAILS)}")
    for line in lines:
        yield line
        detail = describe(line.split())
        if detail:
            yield f"{_INDENT}{detail}"


def _method(words: list[str]) -> str:
    """Return the parameters of a method with their defaults; words are part and name."""
    if words[0] == "broken":
        return ""
    method = next(one for one in registry().methods(words[0]) if one.name == words[1])
    shown = []
    for name, field in method.Params.model_fields.items():
        default = _plain(field.get_default(call_default_factory=True))
        shown.append(f"{name} (required)" if field.is_required() else f"{name} = {default}")
    return ", ".join(shown) or "no parameters"


def _plain(value: object) -> str:
    return json.dumps(value, default=str)


def _dataset(words: list[str]) -> str:
    card = load_card(words[0])
    classes = f"{card.labels} classes" if card.labels else "no classes"
    return "; ".join(filter(None, (classes, f"licence: {card.licence}", card.citation)))


def _suite(words: list[str]) -> str:
    suite = load_suite(words[0])
    trainings = f"; {suite.trainings} trainings" if suite.trainings > 1 else ""
    return (
        f"{_names(suite.dataset)}; networks {_names(suite.network)}; N = {suite.n_images:,}; "
        f"{len(suite.trials)} entries{trainings}; timing tier {suite.timing.tier}"
    )


def _names(found: str | list[str]) -> str:
    return found if isinstance(found, str) else ", ".join(found)


def _network(words: list[str]) -> str:
    if not words or words[0] not in network_names():
        return ""
    card = load_network_card(words[0])
    return ", ".join(f"{name} = {_plain(value)}" for name, value in card.params.items()) or "no parameters"


def _trained(words: list[str]) -> str:
    """Return when and on what an entry of the zoo was trained; nothing for a preparation."""
    from harness.config.zoo_card import WEIGHTS_FILE, load_zoo_card, zoo_folder, zoo_names

    if words[0] not in zoo_names():
        return ""
    card = load_zoo_card(words[0])
    legs = card.training.legs
    devices = ", ".join(dict.fromkeys(leg.device for leg in legs))
    size = (zoo_folder() / words[0] / WEIGHTS_FILE).stat().st_size
    return (
        f"{legs[0].started_on} on {devices}; {card.training.seconds:,.0f} s; {size / 1e6:.2f} MB; "
        f"SHA-256 {card.sha256[:12]}; {card.training.stopped}"
    )


_DETAILS: dict[str, Callable[[list[str]], str]] = {
    "methods": _method, "datasets": _dataset, "suites": _suite, "networks": _network, "zoo": _trained,
}  # fmt: skip
"""By kind: returns the further line of the item whose line has these words; empty where there is none."""
