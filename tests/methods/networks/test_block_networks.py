"""U-ViT and DiT: public parameter names, exact work, classes of rows, and what they refuse.

Both were also loaded strictly from the public code's own weights and gave its outputs, when these tests were written.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from harness.config.network_card import load_network_card, network_names
from harness.measure.flops import count_flops, coverage, cross_check
from harness.sampling.conditions import any_class
from harness.sampling.network import build_network
from methods.networks.base import DataShape
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.dit import DiT, DiTParams
from methods.networks.uvit import UViT, UViTParams

Made = tuple[type[BlockNetwork], type[BlockParams]]
FAMILIES: dict[str, Made] = {"uvit": (UViT, UViTParams), "dit": (DiT, DiTParams)}
CARDS = [name for name in network_names() if load_network_card(name).family in FAMILIES]
both = pytest.mark.parametrize("family", FAMILIES)

UVIT_BODY = """norm1.weight 16, norm1.bias 16, attn.qkv.weight 48x16, attn.proj.weight 16x16, attn.proj.bias 16,
norm2.weight 16, norm2.bias 16, mlp.fc1.weight 64x16, mlp.fc1.bias 64, mlp.fc2.weight 16x64, mlp.fc2.bias 16"""
UVIT_ENDS = """pos_embed 1x17x16, patch_embed.proj.weight 16x3x2x2, patch_embed.proj.bias 16, norm.weight 16,
norm.bias 16, decoder_pred.weight 12x16, decoder_pred.bias 12, final_layer.weight 3x3x3x3, final_layer.bias 3"""
DIT_BLOCK = """attn.qkv.weight 48x16, attn.qkv.bias 48, attn.proj.weight 16x16, attn.proj.bias 16, mlp.fc1.weight 64x16,
mlp.fc1.bias 64, mlp.fc2.weight 16x64, mlp.fc2.bias 16, adaLN_modulation.1.weight 96x16, adaLN_modulation.1.bias 96"""
DIT_ENDS = """pos_embed 1x16x16, x_embedder.proj.weight 16x3x2x2, x_embedder.proj.bias 16,
t_embedder.mlp.0.weight 16x256, t_embedder.mlp.0.bias 16, t_embedder.mlp.2.weight 16x16, t_embedder.mlp.2.bias 16,
final_layer.linear.weight 24x16, final_layer.linear.bias 24, final_layer.adaLN_modulation.1.weight 32x16,
final_layer.adaLN_modulation.1.bias 32, y_embedder.embedding_table.weight 6x16"""


def network(family: str, data: DataShape | None = None, **changes: Any) -> BlockNetwork:
    """Return an untrained network in which every weight matters; DiT's own initial weights give 0."""
    torch.manual_seed(0)
    made, params = FAMILIES[family]
    built = made(params(**{"depth": 4, "width": 16, "heads": 2, "patch": 2, **changes}), data or DataShape(3, 8))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if name not in built.fixed:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return built.eval().requires_grad_(False)


def question(channels: int = 3) -> tuple[Tensor, Tensor]:
    """Return a scaled input of four rows and their noise labels."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, channels, 8, 8, generator=generator), torch.tensor([0.0, 1.5, 300.0, 999.0])


def named(*parts: tuple[str, str]) -> dict[str, str]:
    """Return parameter shapes by name from (prefix, "name shape, name shape, ...")."""
    pairs = [(start, entry.split()) for start, text in parts for entry in text.split(",")]
    return {start + name: shape for start, (name, shape) in pairs}


def shapes(built: BlockNetwork) -> dict[str, str]:
    return {name: "x".join(map(str, value.shape)) for name, value in built.state_dict().items()}


def test_parameters_of_a_uvit_are_named_as_in_the_public_code() -> None:
    bodies = ("in_blocks.0.", "in_blocks.1.", "mid_block.", "out_blocks.0.", "out_blocks.1.")
    skips = [(f"out_blocks.{i}.", "skip_linear.weight 16x32, skip_linear.bias 16") for i in (0, 1)]
    plain = named(("", UVIT_ENDS), *[(body, UVIT_BODY) for body in bodies], *skips)
    assert shapes(network("uvit")) == plain
    more = "label_emb.weight 6x16, pos_embed 1x18x16"
    time = "time_embed.0.weight 64x16, time_embed.0.bias 64, time_embed.2.weight 16x64, time_embed.2.bias 16"
    assert shapes(network("uvit", classes=5, mlp_time_embed=True)) == plain | named(("", more), ("", time))
    without = {name: shape for name, shape in plain.items() if "final_layer" not in name}
    assert shapes(network("uvit", conv=False)) == without


def test_parameters_of_a_dit_are_named_as_in_the_public_code() -> None:
    expected = named(("", DIT_ENDS), *[(f"blocks.{i}.", DIT_BLOCK) for i in range(4)])
    assert shapes(network("dit", classes=5, learn_sigma=True)) == expected
    half = {"final_layer.linear.weight": "12x16", "final_layer.linear.bias": "12"}
    del expected["y_embedder.embedding_table.weight"]
    assert shapes(network("dit")) == expected | half


def test_positions_of_a_dit_are_sines_of_the_column_then_of_the_row() -> None:
    built = network("dit")
    token = built.pos_embed[0, 4 * 2 + 3].double()  # row 2, column 3 of 4x4
    rates = 10000.0 ** -(torch.arange(4, dtype=torch.float64) / 4)
    expected = torch.cat([(3 * rates).sin(), (3 * rates).cos(), (2 * rates).sin(), (2 * rates).cos()])
    torch.testing.assert_close(token, expected, rtol=0, atol=1e-6)


@both
@pytest.mark.parametrize("preconditioning", ["edm", "vp", "vp-discrete"])
def test_shape_and_dtype_are_those_of_the_state(family: str, preconditioning: str) -> None:
    built = network(family, preconditioning=preconditioning, time_scale=3.0)
    for dtype in (torch.float32, torch.float64):
        denoised = built(question()[0].to(dtype), torch.tensor([0.01, 0.5, 3.0, 80.0], dtype=torch.float64))
        assert denoised.shape == (4, 3, 8, 8)
        assert denoised.dtype == dtype
        assert denoised.isfinite().all()


@both
def test_blocks_one_by_one_are_the_whole(family: str) -> None:
    """`embed`, `block` with the skip that `reads` names, and `head` compute what `raw` computes."""
    built, (x, label) = network(family, classes=5), question()
    built.row_classes = torch.full((4,), 1)
    h, condition = built.embed(x, label, torch.full((4,), 1))
    saved: list[Tensor] = []
    for i in range(built.n_blocks):
        source = built.reads(i)
        h = built.block(i, h, condition, None if source is None else saved[source])
        saved.append(h)
    assert torch.equal(built.head(h, condition), built.raw(x, label))
    assert built.patch_tokens(h).shape == (4, 16, 16)


def test_each_decoder_block_reads_its_mirror() -> None:
    built = network("uvit", depth=6)
    assert [built.reads(i) for i in range(built.n_blocks)] == [None, None, None, None, 2, 1, 0]


def body(tokens: int, width: int) -> int:
    """Return the multiply-adds of attention and MLP."""
    return 12 * width**2 * tokens + 2 * tokens**2 * width


def uvit_macs(tokens: int, extras: int, width: int, half: int, kept: int, patch: int, channels: int) -> int:
    all_tokens, pixels = tokens + extras, patch**2 * channels
    ends = tokens * pixels * width + all_tokens * width * pixels + tokens * patch**2 * 9 * channels**2
    return (half + 1 + kept) * body(all_tokens, width) + half * 2 * width**2 * all_tokens + ends


def dit_macs(tokens: int, width: int, depth: int, patch: int, channels: int, outputs: int) -> int:
    embedders = tokens * patch**2 * channels * width + 256 * width + width**2
    ends = tokens * width * patch**2 * outputs + 2 * width**2
    return depth * (body(tokens, width) + 6 * width**2) + embedders + ends


def flops(built: BlockNetwork, depth: int, device: str = "cpu") -> int:
    data = built.data
    x = torch.zeros(1, data.channels, data.resolution, data.resolution, device=device)
    return count_flops(lambda: built.raw(x, torch.ones(1, device=device), depth))


@pytest.mark.parametrize("classes", [0, 5])
def test_work_of_a_uvit_is_the_formula_for_every_exit(classes: int) -> None:
    built = network("uvit", depth=6, classes=classes)
    for kept in built.exits:
        assert flops(built, kept) == 2 * uvit_macs(16, 2 if classes else 1, 16, 3, kept, 2, 3)


@pytest.mark.parametrize("classes", [0, 5])
def test_work_of_a_dit_is_the_formula_for_every_exit(classes: int) -> None:
    built = network("dit", classes=classes, learn_sigma=classes > 0)
    for run in built.exits:
        assert flops(built, run) == 2 * dit_macs(16, 16, run, 2, 3, 6 if classes else 3)


def test_work_of_the_public_sizes_is_as_published() -> None:
    """U-ViT-S/2 at 32x32: 12.20 G multiply-adds; two DiT-XL/2 blocks of the 28 stand for its 118.62 G."""
    with torch.device("meta"):
        small = UViT(UViTParams(depth=12, width=512, heads=8, patch=2), DataShape(3, 32))
        large = DiT(DiTParams(depth=2, width=1152, heads=16, patch=2, classes=1000, learn_sigma=True), DataShape(4, 32))
    assert flops(small, 6, "meta") == 2 * uvit_macs(256, 1, 512, 6, 6, 2, 3) == 2 * 12_200_808_448
    assert flops(large, 2, "meta") == 2 * dit_macs(256, 1152, 2, 2, 4, 8)
    block = (flops(large, 2, "meta") - flops(large, 1, "meta")) / 2
    assert block == pytest.approx(4.236e9, abs=1e6)
    assert flops(large, 1, "meta") / 2 + 27 * block == pytest.approx(118.62e9, abs=1e7)


@both
@pytest.mark.parametrize("classes", [0, 5])
def test_an_independent_counter_agrees(family: str, classes: int) -> None:
    built = network(family, classes=classes)
    found = cross_check(built, built.data)
    assert found.agree, found


@both
@pytest.mark.parametrize("classes", [0, 5])
def test_the_counter_sees_every_matrix(family: str, classes: int) -> None:
    """Tables of classes are looked up, not multiplied with."""
    assert coverage(network(family, classes=classes), question()[0], torch.ones(4)) == 1.0


@both
def test_each_row_has_the_class_that_it_is_given(family: str) -> None:
    x, label = question()
    built = network(family, classes=5)
    nothing = built.raw(x, label)
    built.row_classes = torch.tensor([2, 5, 0, 2])
    found = built.raw(x, label)
    direct = built.truncated(x, label, built.row_classes, [4] * (len(built.exits) - 1))
    assert torch.equal(found, direct)
    torch.testing.assert_close(found[1], nothing[1])  # the last row of the table stands for none
    assert not torch.allclose(found[0], nothing[0])
    by_row = built.raw(x, label, torch.tensor([1, 2, 1, 2]))
    for depth in (1, 2):
        torch.testing.assert_close(by_row[depth - 1 :: 2], built.raw(x, label, depth)[depth - 1 :: 2])


@both
def test_classes_of_another_number_of_rows_are_refused(family: str) -> None:
    built = network(family, classes=5)
    built.row_classes = torch.tensor([2])
    with pytest.raises(ValueError, match="1 classes are given for 4 rows"):
        built.raw(*question())


@pytest.mark.parametrize(
    ("family", "changes", "sentence"),
    [
        ("uvit", {"depth": 5}, "depth is 5; expected an even number"),
        ("uvit", {"width": 18}, "width is 18; expected a multiple of 4, twice the heads"),
        ("dit", {"width": 18}, "width is 18; expected a multiple of 4, twice the heads"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(family: str, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        network(family, **changes)


@both
def test_what_the_images_forbid_is_refused(family: str) -> None:
    with pytest.raises(ValueError, match="resolution 8 is not divisible by patch = 3"):
        network(family, patch=3)
    with pytest.raises(ValueError, match=r"depths from 9 to 9; this network accepts \d to \d blocks"):
        network(family).raw(*question(), 9)


def test_the_position_code_needs_a_multiple_of_four() -> None:
    with pytest.raises(ValueError, match="width is 6; expected a multiple of 4"):
        network("dit", width=6, heads=1)


@pytest.mark.parametrize("name", CARDS)
def test_shipped_sizes_build_and_run(name: str) -> None:
    """On no device at all: a card is checked for shapes, not for speed."""
    card = load_network_card(name)
    channels, side = (4, 32) if (card.params.get("classes", 0) == 1000) else (3, 32)
    with torch.device("meta"):
        built = build_network(card, DataShape(channels, side))
        with any_class(built, 2):
            answer = built(torch.zeros(2, channels, side, side), torch.ones(2))
    assert answer.shape == (2, channels, side, side)
