"""The lines that `ls` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.config.network_card import load_network_card, network_names
from harness.config.suite import load_suite, suite_names
from harness.data.cards import card_names, load_card
from harness.data.splits import count_images
from harness.errors import StoreDamagedError
from harness.fetching.fetch import list_fetchable
from harness.metrics.extractors import list_extractors
from harness.registry import registry


def list_lines(what: str) -> Iterator[str]:
    """Yield one line for each item of a kind, such as "methods"."""
    yield from {
        "methods": _list_methods,
        "datasets": _list_datasets,
        "suites": _list_suites,
        "networks": _list_networks,
        "extractors": _list_extractors,
        "zoo": _list_zoo,
        "fetch": _list_fetchable,
    }[what]()


def _list_methods() -> Iterator[str]:
    found = []
    for method in registry().methods():
        origin = "" if method.__module__.startswith("methods.") else f"  [from {method.__module__}]"
        found.append((method.part, method.name, f"{method.summary}{origin}"))
    found += [("broken", name, reason) for name, reason in sorted(registry().broken.items())]
    yield from in_columns(found)


def _list_datasets() -> Iterator[str]:
    found = []
    for name in card_names():
        card = load_card(name)
        side = f"{card.resolution}x{card.resolution}x{card.channels}"
        n = count_images(card, card.reference)
        images = f"reference {card.reference} {'as found' if n is None else f'{n:,}':>9}"
        found.append((name, side, images, card.title))
    yield from in_columns(found)


def _list_suites() -> Iterator[str]:
    yield from in_columns([(name, load_suite(name).title) for name in suite_names()])


def _list_networks() -> Iterator[str]:
    """Yield the cards with their families, then what a card of one's own may name as its family."""
    cards = [(name, load_network_card(name)) for name in network_names()]
    yield from in_columns([(name, f"family {card.family}", card.title) for name, card in cards])
    yield ""
    yield "families, for cards of your own:"
    yield from in_columns([(network.family, network.summary) for network in registry().networks()])


def _list_extractors() -> Iterator[str]:
    yield from in_columns(list_extractors())


def _list_fetchable() -> Iterator[str]:
    yield from in_columns(list_fetchable())


def in_columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield rows of text as lines, each column but the last as wide as its longest cell."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _list_zoo() -> Iterator[str]:
    from harness.config.stored_preparation import load_stored, preparation_names
    from harness.config.zoo_card import load_zoo_card, zoo_names

    damaged: list[StoreDamagedError] = []
    for name in zoo_names():
        try:
            card = load_zoo_card(name)
        except StoreDamagedError as error:
            damaged.append(error)
            continue
        judged, trained = card.judged, card.training
        yield (
            f"{name:16} {card.data.name:12} {trained.images_seen:>9,} images  limit {judged.limit_fid:6.2f} "
            f"({judged.extractor.partition(':')[0]})  copies {100 * judged.copy_rate:4.1f} %  {card.dtype}  "
            f"{'finished' if trained.finished else 'in training'}"
        )

    # what was prepared on them
    for name in preparation_names():
        try:
            made = load_stored(name)
        except StoreDamagedError as error:
            damaged.append(error)
            continue
        steps = "" if made.steps is None else f"  {made.steps} steps"
        yield f"{name:30} {made.part} {made.method} for {made.on.network}{steps}  {made.seconds:,.0f} s"
    if damaged:
        raise damaged[0]
