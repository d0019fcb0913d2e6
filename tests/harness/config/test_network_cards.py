"""Network cards: what ships is sound, and what is wrong is said in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.config.network_card import load_network_card, network_names
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.sampling.network import build_network
from methods.networks.base import DataShape
from methods.networks.preconditioned import PreconditionedNetwork
from methods.networks.unet import UNet


def card_file(folder: Path, **changes: str) -> Path:
    lines = {"name": '"mine"', "title": '"t"', "family": '"unet"', **changes}
    text = "\n".join(f"{key} = {value}" for key, value in lines.items())
    path = folder / "mine.toml"
    path.write_text(text + "\n[params]\nchannels = [8]\nsigma_data = 0.5\n")
    return path


def test_shipped_cards_load_and_are_named_as_their_files() -> None:
    assert {"unet-8", "unet-32", "unet-tiny"} <= set(network_names())
    for name in network_names():
        assert load_network_card(name).name == name


@pytest.mark.parametrize("data", [DataShape(1, 4), DataShape(1, 8), DataShape(3, 32)])
def test_tiny_is_tiny_at_any_resolution_divisible_by_four(data: DataShape) -> None:
    network = build_network(load_network_card("unet-tiny"), data)
    assert sum(p.numel() for p in network.parameters()) < 100_000
    assert network(torch.randn(1, data.channels, data.resolution, data.resolution), torch.ones(1)).isfinite().all()


def test_size_of_the_cifar_network_is_ddpms() -> None:
    with torch.device("meta"):
        network = build_network(load_network_card("unet-32"), DataShape(3, 32))
    assert sum(p.numel() for p in network.parameters()) == 35_746_307


@pytest.mark.parametrize("name", [name for name in network_names() if name.endswith("-16")])
def test_networks_for_16_pixels_fit_two_megabytes_in_half_precision(name: str) -> None:
    data, card = load_card("cifar10-16"), load_network_card(name)
    network = build_network(card, data.shape())
    assert sum(p.numel() for p in network.parameters()) <= 980_000
    assert card.train is not None
    assert (card.train.flips, card.train.decay) == (True, "constant")
    assert isinstance(network, PreconditionedNetwork)
    params = network.params
    assert params.preconditioning == "edm"
    assert (params.sigma_data, params.p_mean, params.p_std) == (data.sigma_data, -1.2, 1.2)


def test_family_may_be_looked_up_by_the_caller(tmp_path: Path) -> None:
    network = build_network(load_network_card(card_file(tmp_path)), DataShape(1, 8), lambda family: UNet)
    assert isinstance(network, UNet)


def test_faults_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='did you mean "unet-tiny"'):
        load_network_card("unet-tinny")
    with pytest.raises(UsageError, match='expected "mine"'):
        load_network_card(card_file(tmp_path, name='"other"'))
    with pytest.raises(UsageError, match='did you mean "title"'):
        load_network_card(card_file(tmp_path, titel='"x"'))
    with pytest.raises(UsageError, match="expected 1 to 64"):
        load_network_card(card_file(tmp_path, name='"../up"'))
    card = load_network_card(card_file(tmp_path))
    with pytest.raises(UsageError, match='no parameter "channel"; did you mean "channels"'):
        build_network(card.model_copy(update={"params": {**card.params, "channel": [8]}}), DataShape(1, 8))
    with pytest.raises(UsageError, match="not divisible by 2"):
        build_network(load_network_card("unet-8"), DataShape(1, 7))
