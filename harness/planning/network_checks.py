"""Refuses networks that cannot be built for their pictures, before anything is trained or run."""

from __future__ import annotations

import torch

from harness.config.network_card import NetworkCard
from harness.config.zoo_card import PREFIX
from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.planning.plan import Plan
from harness.sampling.network import build_network


def check_networks(plan: Plan) -> None:
    """Raise UsageError for a network that cannot take its pictures.

    It imports the networks' libraries, which takes seconds. Networks of the zoo were trained on these very pictures,
    as their cards say.
    """
    pairs = {(one.trial.network.name, one.trial.dataset.name): one.trial for one in plan.trials}
    for trial in pairs.values():
        if not (trial.network.weights or "").startswith(PREFIX):
            check_network_shape(trial.network, trial.dataset)


def check_network_shape(net: NetworkCard, card: DatasetCard) -> None:
    """Refuse a network that cannot be built for the states' shape; nothing is computed, tensors have no storage."""
    shape = card.spec().state_shape
    if net.state is not None and net.state != shape:
        what = "pictures" if card.latent is None else "latents"
        raise UsageError(
            f'network "{net.name}" is for states of {"x".join(map(str, net.state))}, and those of "{card.name}" are '
            f"{what} of {'x'.join(map(str, shape))}; choose another network, or a data set with such states"
        )

    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            build_network(net, card.shape())
    except UsageError as error:
        what, (_, side, _) = "pictures" if card.latent is None else "latents", shape
        raise UsageError(
            f'{error}; the {what} of "{card.name}" are {side}x{side}, choose another network or other parameters'
        ) from None
    except (NotImplementedError, RuntimeError):
        return  # a network that needs real values while it is built
