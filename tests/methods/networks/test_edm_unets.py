"""Families song-unet and adm-unet: sizes as published, outputs by a second formulation, and each trap of equal shapes.

No output of the authors' code is at hand, so nothing here compares with stored numbers of it. What is compared is a
formulation of the published facts that was written apart, and traps show that the comparison would see a wrong one.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from kit.edm_networks import CONFIGS, VE, small_network
from kit.edm_reference import Reference
from pydantic import ValidationError
from torch import Tensor

from harness.registry import registry
from methods.networks.adm_unet import AdmUNetParams
from methods.networks.base import DataShape
from methods.networks.edm_layers import BlockStyle, EdmBlock, FourierNoise, ResamplingConv, SineNoise, one_hot_rows
from methods.networks.edm_unet import EdmUNet
from methods.networks.song_unet import SongUNet, SongUNetParams

VP_SIZE = {"img_resolution": 32, "in_channels": 3, "out_channels": 3, "augment_dim": 9, "channel_mult": [2, 2, 2]}
VE_SIZE = {**VP_SIZE, **{key: VE[key] for key in ("embedding_type", "channel_mult_noise", "encoder_type")}}
VE_SIZE |= {"resample_filter": [1, 3, 3, 1]}
ADM_SIZE = {"img_resolution": 64, "in_channels": 3, "out_channels": 3, "label_dim": 1000}
SIZES: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "cond-vp": ("song-unet", {**VP_SIZE, "label_dim": 10}, 427, 55_735_299),
    "uncond-vp": ("song-unet", VP_SIZE, 425, 55_733_891),
    "cond-ve": ("song-unet", {**VE_SIZE, "label_dim": 10}, 434, 56_400_643),
    "uncond-ve": ("song-unet", VE_SIZE, 432, 56_397_827),
    "imagenet-adm": ("adm-unet", ADM_SIZE, 553, 295_899_267),
}
NAMES = {
    "cond-vp": "map_label.bias map_augment.weight map_layer0.weight enc.32x32_conv.bias enc.16x16_down.skip.weight "
    "enc.16x16_down.conv0.resample_filter enc.16x16_block3.qkv.weight dec.8x8_in0.norm2.weight dec.8x8_in1.conv1.bias "
    "dec.16x16_block4.proj.bias dec.32x32_up.skip.resample_filter dec.32x32_aux_norm.weight dec.32x32_aux_conv.bias",
    "cond-ve": "map_noise.freqs enc.16x16_aux_residual.weight enc.8x8_aux_residual.resample_filter",
    "imagenet-adm": "map_label.weight enc.32x32_down.skip.resample_filter dec.32x32_block0.qkv.weight out_norm.bias "
    "out_conv.weight enc.8x8_block0.affine.weight",
}
ABSENT = {
    "cond-vp": "map_noise.freqs dec.16x16_block3.qkv.weight enc.16x16_down.qkv.weight dec.8x8_in1.qkv.weight",
    "cond-ve": "enc.32x32_aux_residual.weight",
    "imagenet-adm": "map_label.bias map_augment.weight enc.32x32_down.skip.weight dec.64x64_aux_norm.weight",
}
LABELS = torch.tensor([-1.3, 0.2, 0.9], dtype=torch.float64)
CLASSES = torch.tensor([4, 0, 5])  # the last is for no class


def picture(rows: int = 3, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(rows, channels, 8, 8, generator=generator, dtype=torch.float64)


def off_by(found: Tensor, expected: Tensor) -> float:
    """Return the relative difference of two tensors."""
    return float(((found - expected).norm() / expected.norm()).detach())


@pytest.mark.parametrize("name", SIZES)
def test_a_published_size_has_its_tensors_and_parameters(name: str) -> None:
    family, config, tensors, parameters = SIZES[name]
    found = registry().network(family)
    with torch.device("meta"):
        built = found(found.Params(**config), DataShape(3, config["img_resolution"]))
    names = built.state_dict().keys()
    assert (len(names), sum(value.numel() for value in built.parameters())) == (tensors, parameters)
    assert set(NAMES.get(name, "").split()) <= names
    assert not set(ABSENT.get(name, "").split()) & names


def as_double(kind: str, **changes: Any) -> tuple[EdmUNet, dict[str, Any]]:
    return small_network(kind, **changes).double(), {**CONFIGS[kind], **changes}


def hot_classes(kind: str) -> Tensor:
    return torch.eye(6, dtype=torch.float64)[CLASSES][:, :5]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("classes", [True, False])
def test_outputs_are_those_of_a_second_formulation(kind: str, classes: bool) -> None:
    network, config = as_double(kind, **({} if classes else {"label_dim": 0}))
    network.row_classes = CLASSES if classes else None
    reference = Reference(network.state_dict(), config, adm=kind == "adm")
    expected = reference(picture(), LABELS, hot_classes(kind) if classes else None)
    assert off_by(network.raw(picture(), LABELS), expected) < 1e-12


TRAPS = {
    "vp": (
        "qkv in blocks, more heads, scale of all heads and more heads, other half first, other endpoint, other eps, "
        "class not scaled, no class leaves the bias out, embedding after the norm, other skip scale, skip scale once, "
        "resampling last"
    ),
    "ve": (
        "frequencies without 2 pi, other half first, box filter, auxiliary filters first, auxiliary goes on alone, "
        "skip before the auxiliary, resampling last, qkv in blocks"
    ),
    "adm": (
        "qkv in blocks, qkv in blocks per head, scale of all heads, more heads, other half first, other endpoint, "
        "other eps, class before the second layer, shift first, other skip scale"
    ),
}
"""Readings that fit all shapes; the names are those of the reference."""


@pytest.mark.parametrize(
    ("kind", "trap"), [(kind, trap) for kind, traps in TRAPS.items() for trap in traps.split(", ")]
)
def test_a_wrong_reading_of_equal_shapes_is_seen(kind: str, trap: str) -> None:
    network, config = as_double(kind)
    network.row_classes = CLASSES
    wrong = Reference(network.state_dict(), config, kind == "adm", tuple(trap.split(" and ")))
    assert off_by(network.raw(picture(), LABELS), wrong(picture(), LABELS, hot_classes(kind))) > 1e-7


def test_in_one_precision_lower_the_network_is_the_same() -> None:
    for kind in CONFIGS:
        network = small_network(kind)
        single = network.raw(picture().float(), LABELS.float())
        assert off_by(single.double(), network.double().raw(picture(), LABELS)) < 2e-5


# single facts, by hand


def style(**changes: Any) -> BlockStyle:
    made = {"embedding": 4, "eps": 1e-6, "skip_scale": 1.0, "channels_per_head": 4, "scale_shift": False}
    return BlockStyle(**{**made, "projects_skip": True, **changes})


def test_fact_1_queries_keys_and_values_of_a_channel_are_neighbours() -> None:
    """Two heads of four channels, two pixels: each entry is computed with scalars."""
    block = EdmBlock(8, 8, style(), attends=True).double()
    mixed = torch.randn(1, 24, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = block._attention(mixed)[0, :, 0]
    for channel in range(8):
        head = channel // 4
        for pixel in range(2):
            logits = []
            for other in range(2):
                pairs = (
                    (mixed[0, 3 * c, 0, pixel] * mixed[0, 3 * c + 1, 0, other]).item()
                    for c in range(4 * head, 4 * head + 4)
                )
                logits.append(math.exp(sum(pairs) / 2))  # sqrt of four channels
            values = [mixed[0, 3 * channel + 2, 0, other].item() for other in range(2)]
            expected = sum(a * b for a, b in zip(logits, values, strict=True)) / sum(logits)
            assert found[channel, pixel].item() == pytest.approx(expected, rel=1e-12)


def test_fact_2_order_and_frequencies_of_the_noise_embedding() -> None:
    label = torch.tensor([0.7], dtype=torch.float64)
    song = SineNoise(6, endpoint=True, sine_first=True)(label)[0].tolist()
    angles = [0.7, 0.7 / 100, 0.7 / 10000]
    assert song == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)], rel=1e-6)
    adm = SineNoise(6, endpoint=False, sine_first=False)(label)[0].tolist()
    angles = [0.7, 0.7 * 10000 ** (-1 / 3), 0.7 * 10000 ** (-2 / 3)]
    assert adm == pytest.approx([*map(math.cos, angles), *map(math.sin, angles)], rel=1e-6)
    fourier = FourierNoise(4).double()
    angles = [2 * math.pi * f * 0.7 for f in fourier.freqs.tolist()]
    assert fourier(label)[0].tolist() == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)], rel=1e-6)


@pytest.mark.parametrize("kind", ["vp", "adm"])
def test_fact_3_where_the_class_enters(kind: str) -> None:
    """Written with the layers' own weights; for no class the bias of song-unet stays and adm-unet has none."""
    network, _ = as_double(kind)
    network.row_classes = CLASSES
    found, weight = network.embed_label(LABELS), network.get_parameter("map_label.weight")
    noise, silu = network.map_noise(LABELS), torch.nn.functional.silu  # type: ignore[operator]
    for row, wanted in enumerate(CLASSES.tolist()):
        of_class = weight[:, wanted] if wanted < 5 else torch.zeros(len(weight), dtype=torch.float64)
        if kind == "vp":
            h = noise[row] + of_class * math.sqrt(5) + network.get_parameter("map_label.bias")
            expected = silu(network.map_layer1(silu(network.map_layer0(h))))
        else:
            expected = silu(network.map_layer1(silu(network.map_layer0(noise[row]))) + of_class)
        torch.testing.assert_close(found[row], expected, rtol=1e-12, atol=1e-14)


def test_fact_8_resampling_of_ones_is_a_mean_and_repeats() -> None:
    x = picture(1, 2)
    down, up = (ResamplingConv(2, 2, 0, way).double()(x) for way in ("down", "up"))
    for i in range(4):
        for j in range(4):
            mean = x[0, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(dim=(1, 2))
            torch.testing.assert_close(down[0, :, i, j], mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(up, x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), rtol=1e-12, atol=0)


@pytest.mark.parametrize("way", ["down", "up"])
def test_fact_8_resampling_of_four_taps(way: str) -> None:
    """The response to one lit pixel, from the taps 1/8, 3/8, 3/8, 1/8 of a line, twice as much per axis upwards."""
    taps = [1 / 8, 3 / 8, 3 / 8, 1 / 8]
    x = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    x[0, 0, 3, 4] = 1.0
    found = ResamplingConv(1, 1, 0, way, (1, 3, 3, 1)).double()(x)[0, 0]
    expected = torch.zeros_like(found)
    if way == "down":  # place i reads 2 i - 1 ... 2 i + 2
        for i in range(4):
            for j in range(4):
                a, b = 3 - (2 * i - 1), 4 - (2 * j - 1)
                expected[i, j] = taps[a] * taps[b] if 0 <= a < 4 and 0 <= b < 4 else 0.0
    else:  # pixel i writes 2 i - 1 ... 2 i + 2
        for a in range(4):
            for b in range(4):
                expected[2 * 3 - 1 + a, 2 * 4 - 1 + b] = 4 * taps[a] * taps[b]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    assert expected.sum() > 0.2


def test_fact_8_resampling_comes_before_the_convolution_but_for_the_auxiliary() -> None:
    x = picture(2, 3)
    for first in (False, True):
        layer = ResamplingConv(3, 5, 3, "down", (1, 3, 3, 1), convolves_first=first).double()
        assert layer.weight is not None
        kernel = layer.resample_filter
        assert kernel is not None
        if first:
            wide = torch.nn.functional.conv2d(torch.nn.functional.pad(x, [2] * 4), layer.weight, layer.bias)
            expected = torch.cat(
                [torch.nn.functional.conv2d(part, kernel.double(), stride=2) for part in wide.split(1, dim=1)], dim=1
            )
        else:
            half = torch.cat(
                [torch.nn.functional.conv2d(p, kernel.double(), stride=2, padding=1) for p in x.split(1, dim=1)], dim=1
            )
            expected = torch.nn.functional.conv2d(half, layer.weight, layer.bias, padding=1)
        assert off_by(layer(x), expected) < 1e-12


def test_the_residual_encoder_replaces_skips_and_goes_on_with_the_sum() -> None:
    network, _ = as_double("ve")
    enc, x, embedding = network.enc, picture(), network.embed_label(LABELS)
    seen: list[Tensor] = []
    network._descend(x, embedding, seen)
    h = enc["8x8_conv"](x)
    skips, auxiliary = [h], x
    for side in (8, 4, 2):
        if side < 8:
            h = enc[f"{side}x{side}_down"](h, embedding)
            h = auxiliary = (h + enc[f"{side}x{side}_aux_residual"](auxiliary)) / math.sqrt(2)
            skips.append(h)
        for i in range(2):
            h = enc[f"{side}x{side}_block{i}"](h, embedding)
            skips.append(h)
    assert len(seen) == len(skips) == 9
    for mine, expected in zip(seen, skips, strict=True):
        assert off_by(mine, expected) < 1e-13


# classes, training, refusals


def test_no_class_is_the_zero_vector_and_is_no_null_class() -> None:
    network, _ = as_double("vp")
    outputs = []
    for classes in (None, torch.full((3,), 5), torch.full((3,), 4)):
        network.row_classes = classes
        outputs.append(network.raw(picture(), LABELS))
    assert torch.equal(outputs[0], outputs[1])
    assert off_by(outputs[2], outputs[1]) > 1e-4
    params = network.params
    assert (params.class_count, params.has_null_class) == (5, False)
    assert params.model_copy(update={"label_dropout": 0.1}).has_null_class
    assert not params.model_copy(update={"label_dropout": 0.1, "label_dim": 0}).has_null_class


def test_rows_have_their_own_classes() -> None:
    for kind in CONFIGS:
        network, _ = as_double(kind)
        network.row_classes = CLASSES
        together = network.raw(picture(), LABELS)
        for row in range(3):
            network.row_classes = CLASSES[row : row + 1]
            assert off_by(network.raw(picture()[row : row + 1], LABELS[row : row + 1]), together[row : row + 1]) < 1e-12


def test_classes_of_another_number_of_rows_are_refused() -> None:
    for kind in CONFIGS:
        network, _ = as_double(kind)
        network.row_classes = CLASSES[:2]
        with pytest.raises(ValueError, match=r"\(2,\) classes for 3 rows; expected one class per row"):
            network.raw(picture(), LABELS)
    assert one_hot_rows(torch.tensor([1]), 2, torch.zeros(1, 7)).tolist() == [[0.0, 1.0]]


def test_a_learned_variance_is_left_out() -> None:
    network, config = as_double("adm", out_channels=6)
    reference = Reference(network.state_dict(), config, adm=True)(picture(), LABELS, torch.zeros(3, 5).double())
    assert reference.shape[1] == 6
    assert off_by(network.raw(picture(), LABELS), reference[:, :3]) < 1e-12


def test_class_dropout_and_dropout_are_of_training_alone() -> None:
    network, _ = as_double("vp", label_dropout=0.5, dropout=0.0)
    network.row_classes = torch.zeros(64, dtype=torch.long)
    many = torch.zeros(64, 4, dtype=torch.float64)
    assert network.class_rows(many).sum() == 64
    torch.manual_seed(0)
    assert 10 < network.train().class_rows(many).sum() < 54
    dropping, _ = as_double("vp", dropout=0.5)
    assert torch.equal(dropping.raw(picture(), LABELS), dropping.raw(picture(), LABELS))
    dropping.train()
    assert not torch.equal(dropping.raw(picture(), LABELS), dropping.raw(picture(), LABELS))


@pytest.mark.parametrize("kind", CONFIGS)
def test_all_but_augmentation_learns(kind: str) -> None:
    network = small_network(kind).requires_grad_(True)
    network.row_classes = torch.zeros(4, dtype=torch.long)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    network.loss(images, torch.Generator().manual_seed(0)).backward()
    silent = {name for name, value in network.named_parameters() if value.grad is None}
    assert silent == (set() if kind == "adm" else {"map_augment.weight"})


@pytest.mark.parametrize("kind", ["vp", "ve", "adm"])
def test_fresh_weights_are_small_in_front_of_a_residual_sum(kind: str) -> None:
    found = registry().network("adm-unet" if kind == "adm" else "song-unet")
    network = found(found.Params(**CONFIGS[kind]), DataShape(3, 8))
    state = network.state_dict()
    small = [
        name for name in state if name.endswith(("conv1.weight", "proj.weight", "aux_conv.weight", "out_conv.weight"))
    ]
    assert len(small) > 8
    assert all(float(state[name].abs().max()) < 1e-4 for name in small)
    large = [name for name in state if name.endswith(("conv0.weight", "qkv.weight", "affine.weight", "_conv.weight"))]
    assert all(float(state[name].std()) > 1e-3 for name in large if name not in small)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="of 3 channels and 8 pixels a side, the data of 1 and 8"):
        SongUNet(SongUNetParams(**CONFIGS["vp"]), DataShape(1, 8))
    with pytest.raises(ValidationError, match="encoder_type"):
        SongUNetParams(**{**CONFIGS["vp"], "encoder_type": "skip"})
    with pytest.raises(ValidationError, match="decoder_type"):
        SongUNetParams(**{**CONFIGS["vp"], "decoder_type": "skip"})
    with pytest.raises(ValidationError, match="expected a multiple of 4, as channel_mult has 3"):
        AdmUNetParams(**{**CONFIGS["adm"], "img_resolution": 6, "channel_mult": [1, 1, 1]})
    with pytest.raises(ValidationError, match="expected in_channels = 3, or twice"):
        AdmUNetParams(**{**CONFIGS["adm"], "out_channels": 4})
    with pytest.raises(ValueError, match="32 channels attend; expected a multiple of 64"):
        small_network("adm", model_channels=32, channel_mult=[1, 1])
