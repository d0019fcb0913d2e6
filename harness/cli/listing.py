"""The lines that `ls` prints."""

from __future__ import annotations

from collections.abc import Iterator

from harness.config.network_card import load_network_card, network_names
from harness.config.suite import load_suite, suite_names
from harness.data.cards import card_names, load_card
from harness.data.splits import count_images
from harness.errors import StoreDamagedError
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
    }[what]()


def _list_methods() -> Iterator[str]:
    for method in registry().methods():
        origin = "" if method.__module__.startswith("methods.") else f"  [from {method.__module__}]"
        yield f"{method.part:9} {method.name:14} {method.summary}{origin}"
    for name, reason in sorted(registry().broken.items()):
        yield f"broken    {name:14} {reason}"


def _list_datasets() -> Iterator[str]:
    for name in card_names():
        card = load_card(name)
        side = f"{card.resolution}x{card.resolution}x{card.channels}"
        n = count_images(card, card.reference)
        yield f"{name:16} {side:10} reference {card.reference} {'as found' if n is None else f'{n:,}':>8}  {card.title}"


def _list_suites() -> Iterator[str]:
    for name in suite_names():
        yield f"{name:16} {load_suite(name).title}"


def _list_networks() -> Iterator[str]:
    for name in network_names():
        card = load_network_card(name)
        yield f"{name:16} family {card.family:12} {card.title}"
    for network in registry().networks():
        yield f"family {network.family:9} {network.summary}"


def _list_extractors() -> Iterator[str]:
    for name, sentence in list_extractors():
        yield f"{name:20} {sentence}"


def _list_zoo() -> Iterator[str]:
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
    if damaged:
        raise damaged[0]
