"""The noise levels between which a network is sampled: its own range, or that of the data set."""

from __future__ import annotations

from typing import NamedTuple

from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.sampling.network import Architecture, network_params


class LevelRange(NamedTuple):
    """The lowest and the highest noise level."""

    low: float
    high: float


def level_range(network: Architecture, card: DatasetCard) -> LevelRange:
    """Return the range that a network states; for one that states none, that of its data set.

    UsageError for a data set's range that leaves the levels of the network's process.
    """
    try:
        return LevelRange(*network_params(network).range_within(card.sigma_min, card.sigma_max))
    except ValueError as error:
        raise UsageError(f'network "{network.name}" states no sigma_range, and on "{card.name}" {error}') from None
