"""Finds fetched files where a suite names none, and says which command fetches what is absent."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.fetching.cache import data_cache, is_fetched, place_of_card, place_of_file
from harness.fetching.fetch_card import FetchCard, fetch_cards


def find_file(path: Path) -> Path:
    """Return a path as it is given where it exists or has folders, else what was fetched by that name, if anything.

    The name is that of a file, or that of a card whose folder is meant.
    """
    if path.exists() or len(path.parts) != 1:
        return path
    for card in fetch_cards():
        if card.name == path.name and is_fetched(card):
            return place_of_card(card)
        for file in card.files:
            if file.name == path.name and place_of_file(card, file).is_file() and not _is_shared(file.name):
                return place_of_file(card, file)
    return path


def find_extractor_weights(extractor: str, weights: Path | None) -> Path | None:
    """Return the weights of a feature network: as given where they are there, else the fetched ones, if any."""
    if weights is not None:
        return find_file(weights)
    for card in fetch_cards():
        if card.extractor == extractor and is_fetched(card):
            return place_of_file(card, card.files[0])
    return None


def find_data(folder: str) -> Path | None:
    """Return the fetched folder of a data set, None where it was not fetched."""
    found = data_cache() / folder
    return found if found.is_dir() else None


def offer_extractor(extractor: str) -> str:
    """Return the words that offer a feature network's weights, "" where no card has them."""
    return _offer(card for card in fetch_cards() if card.extractor == extractor)


def offer_data(folder: str) -> str:
    """Return the words that offer a data set, "" where no card has it."""
    return _offer(card for card in fetch_cards() if card.folder == folder)


def offer_file(path: Path) -> str:
    """Return the words that offer a file by its name, "" where no card has it."""
    return _offer(
        card for card in fetch_cards() for file in card.files if file.name == path.name and not _is_shared(file.name)
    )


def offer_import(weights: Path) -> str:
    """Return the words that offer the network or decoder whose imported weights are absent, "" where none is known."""
    return offer_import_name(weights.stem)


def offer_import_name(name: str) -> str:
    """Return the words that offer an imported network or decoder by its name, "" where none is known."""
    for card in fetch_cards():
        if card.imported is not None and card.imported == name:
            return f"; `oneclock fetch {card.name}`, then `{card.then}`, brings it"
    return ""


def _offer(cards: Iterable[FetchCard]) -> str:
    names = [card.name for card in cards]
    return f"; `oneclock fetch {names[0]}` brings it" if names else ""


def _is_shared(name: str) -> bool:
    """Tell whether several cards have a file of this name, as folders of diffusers do."""
    return sum(file.name == name for card in fetch_cards() for file in card.files) > 1
