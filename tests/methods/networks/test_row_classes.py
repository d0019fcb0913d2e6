"""The classes of a call's rows: what a network is given, its copies have too."""

from __future__ import annotations

import copy

import torch

from harness.config.network_card import load_network_card
from harness.sampling.network import build_network
from methods.networks.base import DataShape


def test_a_copy_of_a_network_has_the_classes_that_the_network_is_given() -> None:
    network = build_network(load_network_card("unet-8").spec(), DataShape(channels=1, resolution=8))
    tuned = copy.deepcopy(network)
    other = build_network(load_network_card("unet-8").spec(), DataShape(channels=1, resolution=8))
    network.row_classes = torch.tensor([3, 1])
    assert tuned.row_classes is network.row_classes
    assert other.row_classes is None
    tuned.row_classes = None
    assert network.row_classes is None


def test_classes_are_no_weights() -> None:
    network = build_network(load_network_card("unet-8").spec(), DataShape(channels=1, resolution=8))
    names = set(network.state_dict())
    network.row_classes = torch.tensor([3, 1])
    assert set(network.state_dict()) == names
