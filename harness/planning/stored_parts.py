"""Parts whose preparation is stored: their parameters from its card, and whether it fits the trial."""

from __future__ import annotations

from typing import Any

from harness.config.stored_preparation import StoredPreparation, load_preparation, stated
from harness.config.suite import PartEntry
from harness.errors import UsageError
from harness.planning.trial import Trial, make_part
from harness.specs.prepare import PrepareSpec, StoredPreparationSpec
from harness.specs.sampler import PartSpec
from methods.parts import Method

ARTIFACT = "artifact"


class PreparationCards:
    """Loads the cards of stored preparations, each file once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], StoredPreparation] = {}

    def load(self, reference: str, training: int = 0) -> StoredPreparation:
        """Return the card of "zoo:NAME" for a training; errors as of `load_preparation`."""
        key = (reference, training)
        if key not in self._known:
            self._known[key] = load_preparation(reference, training)
        return self._known[key]


def make_entry_part(part: str, item: PartEntry, cards: PreparationCards) -> Method:
    """Return the method of a suite's entry; one with a stored preparation takes the parameters from its card.

    UsageError for another part or method than the card's, and for a parameter that decides it and is another.
    """
    params = item.params
    reference = params.pop(ARTIFACT, None)
    if reference is None:
        return make_part(part, item.name, params)
    card = cards.load(str(reference))
    if (card.part, card.method) != (part, item.name):
        raise UsageError(
            f'{part} "{item.name}" names the artifact {reference}, which is of the {card.part} "{card.method}"; '
            "expected one of the same"
        )

    made = make_part(part, item.name, {**card.params, **params})
    found = made.params.model_dump(mode="json")
    for name, value in card.params.items():
        if found[name] != value:
            raise UsageError(
                f'{part} "{item.name}" has {name} = {found[name]}, and the artifact {reference} was made with {value}; '
                f"leave {name} out, or the artifact"
            )
    return made


def stored_reference(item: PartEntry) -> str | None:
    """Return "zoo:NAME" of an entry's stored preparation, None if it has none."""
    found = item.params.get(ARTIFACT)
    return None if found is None else str(found)


def stored_preparation_spec(
    reference: str, trial: Trial, wanted: PrepareSpec, weights_sha256: str, cards: PreparationCards
) -> StoredPreparationSpec:
    """Return the spec of a stored preparation in place of the wanted one.

    UsageError where it was made on another network or other pixels, or for another trial.
    """
    card, pixels = cards.load(reference, trial.training), wanted.model.data.training_pixels
    wants = {
        "network": f"{trial.network.name} ({weights_sha256[:12]})",
        "data": wanted.model.data.name,
        "parameters": stated(wanted.method.params),
        "steps": wanted.steps,
        "schedule": _plain(wanted.schedule),
        "solver": _plain(wanted.solver),
        "training": wanted.seed,
    }

    has = {
        "network": f"{card.on.network} ({card.on.weights_sha256[:12]})",
        "data": card.on.data,
        "parameters": card.params,
        "steps": card.steps,
        "schedule": _plain(card.schedule),
        "solver": _plain(card.solver),
        "training": card.training,
    }

    # the pixels, unless they are absent or not read
    if len(pixels) == len(card.on.training_pixels):
        wants["pixels"], has["pixels"] = pixels, card.on.training_pixels
    for what, value in has.items():
        if wants[what] != value:
            raise UsageError(
                f"{trial.short} names the artifact {reference}, made with {what} {value}; expected {wants[what]}, so "
                "name another artifact or leave it out"
            )
    return StoredPreparationSpec(path=str(card.path), sha256=card.sha256, price=card.price(), method=wanted.method)


def _plain(part: PartSpec | None) -> tuple[str, Any] | None:
    """Return a part by name and parameters: its own artifact may be a stored one too."""
    return None if part is None else (part.name, stated(part.params))
