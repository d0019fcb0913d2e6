"""FLOP counts against numbers derived by hand, and against DeepSpeed's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import flop_registry

from harness.config.network_card import load_network_card
from harness.data.cards import load_card
from harness.measure.flops import (
    count_by_module,
    count_cpu_attention,
    count_flops,
    coverage,
    cross_check,
    deepspeed_macs,
    flop_counter,
    training_flops,
)
from harness.sampling.network import build_network
from harness.specs.train import TrainSpec
from harness.tasks.train import _output
from methods.networks.base import DataShape, Network

DIGITS = DataShape(1, 8)


def unet(name: str = "unet-tiny") -> Network:
    torch.manual_seed(0)
    return build_network(load_network_card(name), DIGITS).eval()


def test_linear_and_convolution_by_hand() -> None:
    assert count_flops(nn.Linear(7, 5), torch.randn(3, 7)) == 2 * 3 * 7 * 5
    assert count_flops(nn.Conv2d(4, 6, 3, padding=1), torch.randn(2, 4, 8, 8)) == 2 * 2 * 4 * 6 * 9 * 64
    assert count_flops(nn.Conv2d(4, 6, 3, padding=1, groups=2), torch.randn(2, 4, 8, 8)) == 2 * 2 * 2 * 6 * 9 * 64


def test_attention_by_hand() -> None:
    q, k, v = torch.randn(2, 3, 10, 8), torch.randn(2, 3, 12, 8), torch.randn(2, 3, 12, 8)
    expected = 2 * 2 * 3 * 10 * 12 * (8 + 8)
    assert count_flops(functional.scaled_dot_product_attention, q, k, v) == expected


def test_attention_on_a_cpu_is_counted_where_torch_does_not_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch 2.11 does not; where it does, as 2.15, its own formulas stay."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> int:
        with flop_counter() as counter:
            functional.scaled_dot_product_attention(q, k, v).sum().backward()
        return int(counter.get_total_flops())

    q, k, v = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (10, 12, 12))
    product = 2 * 2 * 3 * 10 * 12 * 8  # two forwards; backwards five, one of which is the first done again
    before = dict(flop_registry)
    assert attend(q, k, v) == 7 * product
    for operator in list(flop_registry):
        if "flash_attention_for_cpu" in str(operator):
            monkeypatch.delitem(flop_registry, operator)
    assert attend(q, k, v) == 0
    count_cpu_attention()
    assert attend(q, k, v) == 7 * product
    assert flop_registry.keys() == before.keys()
    monkeypatch.undo()
    count_cpu_attention()
    assert flop_registry == before


def test_fused_encoder_layer_is_not_free() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    tokens, width = 5, 8
    by_hand = 2 * tokens * (4 * width**2 + 2 * width * 16) + 2 * 2 * tokens**2 * width
    assert count_flops(layer, torch.randn(1, tokens, width)) == by_hand
    assert torch.backends.mha.get_fastpath_enabled()


def test_network_counts_by_hand_and_is_linear_in_the_batch() -> None:
    network = unet("unet-8")
    one = count_flops(network, torch.randn(1, 1, 8, 8), torch.ones(1))
    assert one == _unet_8_by_hand()
    assert count_flops(network, torch.randn(7, 1, 8, 8), torch.ones(7)) == 7 * one


def _unet_8_by_hand() -> int:
    """FLOPs of channels (16, 32), one layer a block, no middle, 8 x 8: convolutions 3x3 unless said."""

    def conv(inputs: int, outputs: int, pixels: int, taps: int = 9) -> int:
        return 2 * inputs * outputs * pixels * taps

    def block(inputs: int, outputs: int, pixels: int) -> int:
        shortcut = conv(inputs, outputs, pixels, 1) if inputs != outputs else 0
        return conv(inputs, outputs, pixels) + conv(outputs, outputs, pixels) + 2 * 64 * outputs + shortcut

    time = 2 * (16 * 64 + 64 * 64)
    down = conv(1, 16, 64) + block(16, 16, 64) + conv(16, 16, 16) + block(16, 32, 16)
    low = block(32 + 32, 32, 16) + block(32 + 16, 32, 16) + conv(32, 32, 64)
    high = block(32 + 16, 16, 64) + block(16 + 16, 16, 64) + conv(16, 1, 64)
    return time + down + low + high


@pytest.mark.parametrize("name", ["unet-tiny", "unet-8"])
def test_counters_agree_on_shipped_networks(name: str) -> None:
    check = cross_check(unet(name), DIGITS)
    assert check.agree
    assert check.flops == 2 * check.macs > 0


def test_every_matrix_is_seen_and_a_hidden_one_is_not() -> None:
    x, sigma = torch.randn(1, 1, 8, 8), torch.ones(1)
    assert coverage(unet(), x, sigma) == 1.0

    class Hiding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen, self.hidden = nn.Linear(4, 6), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.seen(x).sum() + torch.mv(self.hidden.weight, x[0]).sum()  # mv counts 0

    assert coverage(Hiding(), torch.randn(1, 4)) == 24 / 32
    assert coverage(nn.MultiheadAttention(8, 2).eval(), *[torch.randn(3, 1, 8)] * 3) == 1.0


def test_modules_add_up() -> None:
    counts = count_by_module(unet(), torch.randn(1, 1, 8, 8), torch.ones(1))
    assert counts["inner"] == counts[""] > counts["inner.conv_in"] > 0


def test_deepspeed_puts_everything_back_even_when_the_network_raises() -> None:
    names = ("linear", "conv2d", "silu", "scaled_dot_product_attention")
    before = [getattr(functional, name) for name in names], torch.matmul, vars(Tensor).get("matmul")

    class Raising(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        deepspeed_macs(Raising(), torch.ones(1))
    assert ([getattr(functional, name) for name in names], torch.matmul, vars(Tensor).get("matmul")) == before
    assert deepspeed_macs(nn.Linear(7, 5), torch.randn(3, 7)) == 3 * 7 * 5


def test_training_costs_about_three_forward_passes() -> None:
    """The gradient needs two products per product, except the input's own gradient in the first layers."""
    network = unet()
    forward = count_flops(network, torch.randn(4, 1, 8, 8), torch.ones(4))
    training = training_flops(network, torch.rand(4, 1, 8, 8), torch.Generator().manual_seed(0))
    assert 2.9 < training / forward <= 3
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize(("gradient", "flops"), [("direct", 8_790_016), ("adjoint", 11_444_224)])
def test_a_gradient_taken_inside_a_backward_pass_is_counted_too(gradient: str, flops: int) -> None:
    """Of an adjoint ODE of one rk4 step; torch's own tracker of modules cannot be there."""
    card = load_network_card("cunet-8", {"params": {"gradient": gradient, "channels": [16, 32]}})
    network = build_network(card, DIGITS)
    assert training_flops(network, torch.zeros(1, 1, 8, 8), torch.Generator().manual_seed(0)) == flops


@pytest.mark.parametrize(
    ("solver", "known"), [({"ode_solver": "rk4"}, True), ({"ode_solver": "dopri5", "tolerance": 0.1}, False)]
)
def test_training_work_that_depends_on_the_data_is_not_extrapolated_from_one_step(
    solver: dict[str, object], known: bool
) -> None:
    card = load_network_card("cunet-8", {"params": solver})
    assert card.train is not None
    spec = TrainSpec(data=load_card("digits").spec(), network=card.spec(), train=card.train, device="cpu")
    output = _output(spec, torch.zeros(1, 1, 8, 8), device_seconds=1.0, loss=0.1)
    assert (output.price.flops is not None) == known
