"""The slimmable U-Net: every width is the network of its channels, at that network's cost, and what it refuses."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from harness.config.network_card import load_network_card
from harness.errors import UsageError
from harness.measure.flops import count_flops, coverage, cross_check
from harness.sampling.network import build_network
from methods.networks.base import DataShape
from methods.networks.slimmable_unet import SlimmableUNet, SlimmableUNetParams, rounded
from methods.networks.unet import UNet, UNetParams

WIDTHS = (1.0, 0.75, 0.5, 0.25)
SIZES: list[dict[str, Any]] = [
    {"channels": (16, 32), "middle": False},
    {"channels": (16, 16, 32), "attention_levels": (1, 2), "middle_attention": True, "layers_per_block": 2},
    {"channels": (32, 48), "attention_levels": (0,), "patch": 2, "time_scale": 1000.0, "norm_groups": 2},
]


def slim(data: DataShape | None = None, **changes: Any) -> SlimmableUNet:
    torch.manual_seed(0)
    params = {"channels": (16, 32), "norm_groups": 4, "round_to": 4, **changes}
    return SlimmableUNet(SlimmableUNetParams(**params), data or DataShape(1, 8)).eval()


def inputs(network: SlimmableUNet, batch: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    side = network.data.resolution
    return torch.randn(batch, network.data.channels, side, side, generator=generator), torch.linspace(-2, 1, batch)


def stand_alone(network: SlimmableUNet, width: float, own_sinusoid: bool = False) -> UNet:
    """Return an ordinary U-Net of a width's channels that reads the full sinusoid, with prefixes of every weight."""
    params = network.params.model_dump(exclude={"widths", "round_to"})
    channels = tuple(int(c * width) for c in network.params.channels)
    narrow = UNet(UNetParams(**{**params, "channels": channels}), network.data).eval()
    if own_sinusoid:
        return narrow
    narrow.inner.time_proj = network.inner.time_proj
    narrow.inner.time_embedding.linear_1 = nn.Linear(network.params.channels[0], 4 * channels[0])
    full = network.state_dict()
    cut = {name: full[name][tuple(map(slice, value.shape))] for name, value in narrow.state_dict().items()}
    narrow.load_state_dict(cut)
    return narrow


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_full_width_is_the_ordinary_network(size: dict[str, Any]) -> None:
    network = slim(**size)
    params = network.params.model_dump(exclude={"widths", "round_to"})
    ordinary = UNet(UNetParams(**params), network.data).eval()
    ordinary.load_state_dict(network.state_dict())
    given = inputs(network)
    assert torch.equal(network.raw(*given), ordinary.raw(*given))
    assert torch.equal(network.raw(*given, 1.0), ordinary.raw(*given))
    assert torch.equal(network(given[0], given[1].exp()), ordinary(given[0], given[1].exp()))


@torch.no_grad()
@pytest.mark.parametrize(("size", "dtype"), [*((size, torch.float32) for size in SIZES), (SIZES[1], torch.float64)])
def test_a_width_is_the_network_of_its_channels(size: dict[str, Any], dtype: torch.dtype) -> None:
    network = slim(**size)
    given = [value.to(dtype) for value in inputs(network)]
    converted, outputs = copy.deepcopy(network).to(dtype=dtype), []
    for width in WIDTHS:
        alone = stand_alone(network, width).to(dtype)
        assert network.channels_at(width) == alone.params.channels
        outputs.append(converted.requires_grad_(True).raw(*given, width))
        built_before = converted.narrow(width)
        assert torch.equal(outputs[-1], alone.raw(*given))
        assert torch.equal(outputs[-1], built_before(*given))
        with torch.inference_mode():
            inferred = converted.raw(*given, width)
            assert torch.equal(inferred, built_before(*given))
            assert torch.equal(inferred, converted.narrow(width)(*given))
        frozen = converted.requires_grad_(False)
        assert torch.equal(frozen.raw(*given, width), frozen.narrow(width)(*given))
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in itertools.pairwise(outputs))


def test_decoder_reads_the_prefix_of_state_and_skip_together() -> None:
    """Columns that read the state at full width read the skip at half of it."""
    network = slim(norm_groups=8, channels=(16, 16), widths=(1.0, 0.5))
    weight = network.inner.up_blocks[0].resnets[0].conv1.weight  # [16, 16 of the state, 16 of the skip]
    network.raw(*inputs(network), 0.5).sum().backward()
    assert weight.grad is not None
    assert weight.grad[:8, :16].abs().amin(dim=(0, 2, 3)).min() > 0
    assert weight.grad[:, 16:].abs().max() == 0


def test_attention_has_one_head_over_the_whole_width() -> None:
    network = slim(channels=(16, 32), attention_levels=(1,), middle_attention=True)
    for width in WIDTHS:
        layers = [m for m in network.narrow(width).modules() if isinstance(m, Attention)]
        assert len(layers) == 4
        assert {(m.heads, m.scale) for m in layers} == {(1, (32 * width) ** -0.5)}


@torch.no_grad()
def test_widths_leave_no_trace() -> None:
    network = slim(**SIZES[1])
    given, weights = inputs(network), copy.deepcopy(network.state_dict())
    before = network.raw(*given)
    for width in reversed(WIDTHS):
        network.raw(*given, width)
    assert torch.equal(network.raw(*given), before)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


@torch.no_grad()
def test_narrow_weights_are_contiguous_copies() -> None:
    network = slim(**SIZES[1])
    given = inputs(network)
    for width in (1.0, 0.5):  # the whole network, and a slice
        narrow = network.narrow(width)
        before = narrow(*given)
        assert all(p.is_contiguous() and p.requires_grad for p in narrow.parameters())
        assert not narrow.training
        changed = copy.deepcopy(network)
        kept = changed.narrow(width)
        for weight in changed.parameters():
            weight.add_(1.0)
        assert torch.equal(kept(*given), before)
        assert not torch.equal(changed.narrow(width)(*given), before)


@torch.no_grad()
def test_weights_move_between_instances_and_none_belong_to_a_width() -> None:
    network, other = slim(), slim(widths=(1.0, 0.5))
    assert (
        network.state_dict().keys()
        == other.state_dict().keys()
        == UNet(UNetParams(channels=(16, 32), norm_groups=4), DataShape(1, 8)).state_dict().keys()
    )
    for weight in other.parameters():
        weight.normal_()
    network.load_state_dict(other.state_dict(), strict=True)
    given = inputs(network)
    assert torch.equal(network.raw(*given, 0.5), other.raw(*given, 0.5))


@torch.no_grad()
def test_dropout_follows_the_mode_at_every_width() -> None:
    network = slim(dropout=0.5)
    given = inputs(network)
    for width in WIDTHS:
        assert torch.equal(network.raw(*given, width), network.raw(*given, width))
        network.train()
        assert not torch.equal(network.raw(*given, width), network.raw(*given, width))
        assert torch.equal(network.narrow(width)(*given), network.eval().raw(*given, width))


@pytest.mark.parametrize("width", WIDTHS)
def test_gradient_is_zero_outside_the_prefix(width: float) -> None:
    network = slim(**SIZES[1]).double()
    x, label = (value.double() for value in inputs(network))
    network.raw(x, label, width).square().mean().backward()
    full, shapes = dict(network.inner.named_parameters()), network.narrow(width).state_dict()
    for name, weight in full.items():
        assert weight.grad is not None
        inside = weight.grad[tuple(map(slice, shapes[f"model.{name}"].shape))]
        assert inside.abs().sum() > 0
        inside.zero_()
        assert weight.grad.count_nonzero() == 0


@pytest.mark.parametrize("size", SIZES)
def test_cost_of_a_width_is_that_of_its_network(size: dict[str, Any]) -> None:
    network = slim(**size)
    given = inputs(network, 1)
    costs = []
    for width in WIDTHS if size is SIZES[1] else (1.0, 0.25):
        costs.append(count_flops(lambda *args, width=width: network.raw(*args, width), *given))
        assert costs[-1] == count_flops(network.narrow(width), *given)
        assert costs[-1] == count_flops(stand_alone(network, width).raw, *given)
    assert costs == sorted(costs, reverse=True)
    assert cross_check(network, network.data).agree
    assert coverage(network, given[0], torch.ones(1)) == 1.0


def test_full_sinusoid_costs_what_the_paper_s_network_pays_for_it() -> None:
    network = slim(channels=(128,), norm_groups=32, round_to=8)
    given = inputs(network, 1)
    extra = [
        count_flops(network.narrow(width), *given)
        - count_flops(stand_alone(network, width, own_sinusoid=True).raw, *given)
        for width in WIDTHS
    ]
    assert extra == [0, 2 * 12_288, 2 * 16_384, 2 * 12_288]


@torch.no_grad()
def test_cifar_network_has_the_published_cost_and_size() -> None:
    """MACs in millions as measured on the released modules; their parameters less the table of 1000 sinusoids."""
    with torch.device("meta"):
        network = build_network(load_network_card("slim-32"), DataShape(3, 32)).eval()
    assert isinstance(network, SlimmableUNet)
    given = torch.randn(1, 3, 32, 32, device="meta"), torch.ones(1, device="meta")
    layers, everything, sizes = [], [], []
    for width in WIDTHS:
        narrow = network.narrow(width)
        with FlopCounterMode(display=False) as counter:
            narrow(*given)
        products = counter.get_flop_counts()["Global"][torch.ops.aten.bmm]
        everything.append(round(counter.get_total_flops() / 2e6, 2))
        layers.append(round((counter.get_total_flops() - products) / 2e6, 2))
        sizes.append(sum(p.numel() for p in narrow.parameters()))
    # the table's narrow networks have sinusoids of their own: fewer MACs, weights and table entries
    own = [12_288, 16_384, 12_288]
    assert everything == [6221.86, 3532.62, 1599.23, 421.69]
    assert layers == [6053.95, 3406.69, 1515.27, 379.71]
    assert sizes[0] == sum(p.numel() for p in network.parameters()) == 35_874_307 - 128_000
    published = [20_214_915 - 96_000, 9_016_067 - 64_000, 2_277_763 - 32_000]
    assert sizes[1:] == [size + more for size, more in zip(published, own, strict=True)]


def test_rounding_never_loses_over_a_tenth() -> None:
    assert [rounded(v, 8) for v in (32, 96, 100, 12, 11.9, 19.9)] == [32, 96, 104, 16, 16, 24]
    assert [rounded(v, 4) for v in (4, 5.9, 6)] == [4, 8, 8]
    assert rounded(25, 1) == 25
    assert all(rounded(v, q) >= 0.9 * v for v in range(1, 200) for q in (1, 4, 8, 16))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"widths": (1.0, 0.5, 0.75)}, "expected 1.0 first and each smaller"),
        ({"widths": (0.5, 0.25)}, "expected 1.0 first and each smaller"),
        ({"widths": (1.0, 1.0)}, "expected 1.0 first and each smaller"),
        ({"widths": ()}, "expected 1.0 first and each smaller"),
        ({"widths": (1.0, 0.0)}, "greater than 0"),
        ({"norm_groups": 16}, r"width 0.75 has channels \[12, 24\], expected multiples of norm_groups = 16; lower"),
        ({"norm_groups": 8, "widths": (1.0, 0.25)}, r"width 0.25 has channels \[4\], expected multiples of"),
        ({"channels": (16, 40), "norm_groups": 8, "widths": (1.0, 0.5)}, r"width 0.5 has channels \[20\]"),
        ({"round_to": 8, "widths": (1.0, 0.5, 0.45)}, r"width 0.45 has channels \[8, 16\] after \[8, 16\]"),
        ({"head_channels": 8}, "head_channels"),
    ],
)
def test_what_cannot_be_sliced_is_refused_at_once(changes: dict[str, Any], sentence: str) -> None:
    params = {"channels": (16, 32), "norm_groups": 4, "round_to": 4, **changes}
    with pytest.raises(ValidationError, match=sentence):
        SlimmableUNetParams(**params)
    card = load_network_card("slim-8")
    with pytest.raises(UsageError):
        build_network(card.model_copy(update={"params": {**card.params, **changes}}), DataShape(1, 8))


def test_unknown_widths_and_scattered_weights_are_refused() -> None:
    network = slim()
    for call in (network.narrow, network.channels_at, lambda width: network.raw(*inputs(network), width)):
        with pytest.raises(ValueError, match=r"width is 0.3; expected one of widths = \[1.0, 0.75, 0.5, 0.25\]"):
            call(0.3)
    weight = network.inner.down_blocks[0].resnets[0].conv1.weight
    weight.data = torch.empty(0)  # what ZeRO 3 leaves between two layers
    with pytest.raises(ValueError, match=r'resnets.0.conv1.weight" has shape \[0\].*zero_stage 0, 1 or 2'):
        network.raw(*inputs(network), 0.5)


def test_the_published_class_is_what_runs() -> None:
    assert type(slim().inner) is UNet2DModel
