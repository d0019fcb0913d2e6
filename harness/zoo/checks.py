"""Checks before a training for the zoo. Each raises a UsageError of one sentence."""

from __future__ import annotations

from harness.config.network_card import NetworkCard
from harness.config.zoo_card import LARGEST_WEIGHTS_BYTES, ZooCard
from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.planning.zoo_networks import network_difference
from methods.networks.base import Network


def check_one_process(net: NetworkCard) -> None:
    """Raise UsageError for a network without training, with weights, or with several workers."""
    if net.train is None:
        raise UsageError(f'network "{net.name}" has no [train] in its card; expected how it is trained')
    if net.weights is not None or (net.train.workers or 1) > 1:
        raise UsageError(f'network "{net.name}" has weights or several workers; expected neither, in one process')


def check_size(network: Network, name: str) -> None:
    """Raise UsageError for a network that is too large for the zoo."""
    parameters = sum(p.numel() for p in network.parameters())
    if 2 * parameters > LARGEST_WEIGHTS_BYTES:
        raise UsageError(
            f'network "{name}" has {parameters:,} parameters; expected at most '
            f"{LARGEST_WEIGHTS_BYTES // 2:,}, whose half precision the zoo has room for"
        )


def check_same_network(committed: ZooCard, card: DatasetCard, net: NetworkCard, seed: int) -> None:
    """Raise UsageError if the zoo holds another network, data set or seed under the name."""
    difference = network_difference(committed.network, net)
    if difference or (committed.data.name, committed.training.seed) != (card.name, seed):
        found = f"has {difference}" if difference else f"is of {committed.data.name}, seed {committed.training.seed}"
        raise UsageError(
            f"zoo network {committed.name} {found}; expected {card.name}, seed {seed} and the sizes "
            "of its card, so copy the card under a name of its own and train that"
        )


def check_same_pixels(committed: ZooCard, fingerprint: str) -> None:
    """Raise UsageError if the committed weights were trained on other pixels."""
    if committed.data.pixels != fingerprint:
        raise UsageError(
            f"zoo network {committed.name} was made of other pixels of {committed.data.name}; expected the same copy "
            "of the data"
        )
