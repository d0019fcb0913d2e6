"""Cards of published sizes: parameter counts, what tells their state dicts apart, and networks without a null class.

When this was written, the state dicts of U-ViT's and DiT's public code had the same names and shapes for every card.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from harness.config.network_card import load_network_card
from harness.sampling.conditions import any_class
from harness.sampling.network import build_network
from methods.networks.base import DataShape
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.dit import DiT, DiTParams
from methods.networks.uvit import UViT, UViTParams
from methods.networks.vp_process import DiscreteBeta, LinearBeta, ScaledLinearBeta

LATENT, SMALL, LARGE = DataShape(4, 32), DataShape(3, 32), DataShape(3, 64)


@dataclass(frozen=True)
class Size:
    """One published network: its images, entries of its state dict, all numbers in those, and its process."""

    data: DataShape
    entries: int
    numbers: int
    process: type
    shapes: str


SIZES = {
    "uvit-s-2": Size(SMALL, 164, 44_255_328, LinearBeta, "pos_embed 1x257x512, final_layer.weight 3x3x3x3"),
    "uvit-s-4": Size(LARGE, 164, 44_292_228, LinearBeta, "pos_embed 1x257x512, decoder_pred.weight 48x512"),
    "uvit-m-4": Size(
        LARGE, 213, 130_940_292, LinearBeta, "label_emb.weight 1000x768, out_blocks.7.skip_linear.weight 768x1536"
    ),
    "uvit-l-4": Size(LARGE, 261, 286_827_652, LinearBeta, "label_emb.weight 1000x1024, pos_embed 1x258x1024"),
    "uvit-l-2": Size(LATENT, 261, 286_763_172, LinearBeta, "label_emb.weight 1001x1024, final_layer.weight 4x4x3x3"),
    "uvit-h-2": Size(
        LATENT, 355, 500_832_016, ScaledLinearBeta, "label_emb.weight 1001x1152, out_blocks.13.mlp.fc1.weight 4608x1152"
    ),
    "dit-s-2": Size(LATENT, 132, 32_963_360, DiscreteBeta, "blocks.11.attn.qkv.weight 1152x384"),
    "dit-b-2": Size(LATENT, 132, 130_512_416, DiscreteBeta, "blocks.11.adaLN_modulation.1.weight 4608x768"),
    "dit-l-2": Size(LATENT, 252, 458_102_816, DiscreteBeta, "y_embedder.embedding_table.weight 1001x1024"),
    "dit-xl-2": Size(LATENT, 292, 675_129_632, DiscreteBeta, "final_layer.linear.weight 32x1152, pos_embed 1x256x1152"),
}
EXITS = {"uvit-s-2": 6, "uvit-s-4": 6, "uvit-m-4": 8, "uvit-l-4": 10, "uvit-l-2": 10, "uvit-h-2": 14}
EXITS |= {"dit-s-2": 12, "dit-b-2": 12, "dit-l-2": 24, "dit-xl-2": 28}
HEADS = {"uvit-s-2": 8, "uvit-s-4": 8, "uvit-m-4": 12, "uvit-l-4": 16, "uvit-l-2": 16, "uvit-h-2": 16}
HEADS |= {"dit-s-2": 6, "dit-b-2": 12, "dit-l-2": 16, "dit-xl-2": 16}
FAMILIES: dict[str, tuple[type[BlockNetwork], type[BlockParams]]] = {
    "uvit": (UViT, UViTParams),
    "dit": (DiT, DiTParams),
}
every_card = pytest.mark.parametrize("name", SIZES)


@cache
def on_no_device(name: str) -> BlockNetwork:
    with torch.device("meta"):
        built = build_network(load_network_card(name), SIZES[name].data)
    assert isinstance(built, BlockNetwork)
    return built


@every_card
def test_a_published_size_has_its_parameters(name: str) -> None:
    size, built = SIZES[name], on_no_device(name)
    state = {key: "x".join(map(str, value.shape)) for key, value in built.state_dict().items()}
    assert (len(state), sum(value.numel() for value in built.state_dict().values())) == (size.entries, size.numbers)
    for entry in size.shapes.split(", "):
        key, shape = entry.split()
        assert state[key] == shape
    assert ("final_layer.weight" in state) == (built.family == "uvit" and name != "uvit-h-2")
    assert (built.exits[-1], built.params.heads) == (EXITS[name], HEADS[name])
    assert type(built.preconditioning.process) is size.process  # type: ignore[attr-defined]


@every_card
def test_a_title_counts_what_learns(name: str) -> None:
    """DiT's fixed position code does not, nor does its paper count it: 33, 130, 458 and 675 M."""
    millions = sum(p.numel() for p in on_no_device(name).parameters() if p.requires_grad) / 1e6
    assert load_network_card(name).title.endswith(f", {millions:.0f} M parameters")


@every_card
def test_a_published_size_answers(name: str) -> None:
    built, data = on_no_device(name), SIZES[name].data
    x = torch.zeros(2, data.channels, data.resolution, data.resolution, device="meta")
    with any_class(built, 2):
        assert built(x, torch.ones(2, device="meta")).shape == x.shape


@every_card
def test_only_networks_of_pixels_without_classes_are_trained_here(name: str) -> None:
    card = load_network_card(name)
    assert (card.train is not None) == (SIZES[name].data.channels == 3 and card.params.get("classes", 0) == 0)


def without_null_class(family: str, **changes: Any) -> BlockNetwork:
    made = FAMILIES[family]
    torch.manual_seed(0)
    sizes = {"depth": 4, "width": 16, "heads": 2, "patch": 2, "classes": 5, "null_class": False, **changes}
    built = made[0](made[1](**sizes), DataShape(3, 8))
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.1)
    return built.requires_grad_(False)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_null_class_every_row_of_the_table_is_a_class(family: str) -> None:
    x, label = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.full((4,), 9.0)
    answers = []
    for wanted in range(5):
        built = without_null_class(family)
        built.row_classes = torch.full((4,), wanted)
        table = [
            value for key, value in built.state_dict().items() if key.endswith(("label_emb.weight", "table.weight"))
        ]
        assert [tuple(value.shape) for value in table] == [(5, 16)]
        answers.append(built.raw(x, label))
        by_row = built.raw(x, label, torch.full((4,), built.exits[-1]))
        torch.testing.assert_close(by_row, answers[-1])
        table[0][wanted] += 1  # the network's own row, and no other, is read
        changed = built.raw(x, label)
        table[0][[row for row in range(5) if row != wanted]] += 1
        assert not torch.equal(changed, answers[-1])
        assert torch.equal(built.raw(x, label), changed)
    assert not any(torch.equal(answers[0], other) for other in answers[1:])


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_null_class_a_class_is_needed(family: str) -> None:
    built = without_null_class(family)
    assert (built.params.class_count, built.params.has_null_class) == (5, False)
    with pytest.raises(ValueError, match="a network without null_class is called for no class; give one of its 5"):
        built.raw(torch.zeros(4, 3, 8, 8), torch.full((4,), 9.0))
    unconditional = without_null_class(family, classes=0).params
    assert (unconditional.class_count, unconditional.has_null_class) == (0, False)
