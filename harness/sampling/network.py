"""Builds a network from its family's name and parameters, as a card or a task's spec describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from harness.errors import UsageError
from harness.registry import parameter_sentence, registry
from harness.specs.sampler import DataSpec
from methods.networks.base import DataShape, Network, NetworkParams


class Architecture(Protocol):
    """What describes a network: its name, its family, the family's parameters. Cards and specs both fit."""

    @property
    def name(self) -> str: ...

    @property
    def family(self) -> str: ...

    @property
    def params(self) -> Mapping[str, Any]: ...


def network_params(described: Architecture, family: type[Network] | None = None) -> NetworkParams:
    """Return the parameters, validated by the family; UsageError if they are wrong."""
    found = family or registry().network(described.family)
    try:
        return found.Params(**described.params)
    except ValidationError as error:
        raise _refusal(described, error, found) from None


def build_network(
    described: Architecture, data: DataShape, family: Callable[[str], type[Network]] | None = None
) -> Network:
    """Return a network with fresh weights (drawn from torch's global generator) for images of a shape."""
    found = (family or registry().network)(described.family)
    params = network_params(described, found)
    try:
        return found(params, data)
    except ValueError as error:
        raise _refusal(described, error, found) from None


def data_shape(data: DataSpec) -> DataShape:
    """Return what a network must know: the shape of a state and, for synthetic data, the distribution."""
    channels, side, _ = data.state_shape
    return DataShape(channels, side, dict(data.distribution))


def _refusal(described: Architecture, error: Exception, family: type[Network]) -> UsageError:
    return UsageError(parameter_sentence(f'network "{described.name}"', error, family.Params.model_fields))
