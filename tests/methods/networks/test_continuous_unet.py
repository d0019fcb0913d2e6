"""The continuous U-Net: the noise level, the way through, counts, work, rows, gradients and refusals."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, silu

from harness.config.network_card import load_network_card
from harness.errors import UsageError
from harness.measure.flops import count_flops, coverage, cross_check
from harness.sampling.network import build_network
from methods.networks.base import DataShape
from methods.networks.continuous_unet import ContinuousUNet, ContinuousUNetParams
from methods.networks.ode_blocks import Integration

PAPER = {"attention_levels": (3,)}
RGB64 = DataShape(3, 64)


def channels_of(nf: int) -> tuple[int, ...]:
    """Return the paper's five levels: 2 nf, 4 nf, 8 nf, 16 nf, 32 nf."""
    return tuple(2 * nf * 2**i for i in range(5))


def network(data: DataShape | None = None, **changes: Any) -> ContinuousUNet:
    """Return an untrained network in float32 in which every weight matters."""
    torch.manual_seed(0)
    params = {"channels": (8, 16), "norm_groups": 4, "time_channels": 16, "time_scale": 1000.0, "zero_init": False}
    if changes.get("profile") == "authors":
        params = {"channels": (8, 16)}
    return ContinuousUNet(ContinuousUNetParams(**{**params, **changes}), data or DataShape(1, 8)).eval()


def question(rows: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Return a scaled input and its noise labels."""
    x = torch.randn(rows, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return x, torch.linspace(-1, 1, rows, dtype=dtype)


@pytest.mark.parametrize("data", [DataShape(1, 8), DataShape(3, 32)])
@pytest.mark.parametrize("channels", [(8,), (8, 16), (8, 8, 16)])
def test_shape_and_dtype_are_those_of_the_state(data: DataShape, channels: tuple[int, ...]) -> None:
    built = network(data, channels=channels, attention_levels=(0, len(channels) - 1), head_channels=4)
    for dtype in (torch.float32, torch.float64):
        x = torch.randn(2, data.channels, data.resolution, data.resolution, dtype=dtype)
        for call in (built, copy.deepcopy(built).double()):
            denoised = call(x, torch.tensor([0.1, 5.0], dtype=torch.float64))
            assert (denoised.shape, denoised.dtype) == (x.shape, dtype)
            assert denoised.isfinite().all()


def test_noise_level_reaches_every_block() -> None:
    """The authors' code forgot it: there the answers at t = 0 and t = 999 are equal to the last bit."""
    built, (x, _) = network(channels=(8, 8, 8)).double(), question(1)
    near, far = (built.raw(x, torch.tensor([label]).double()) for label in (0.0, 0.5))
    assert not torch.allclose(near, far, atol=1e-3)
    built.loss(torch.rand(4, 1, 8, 8).double(), torch.Generator().manual_seed(0)).backward()
    for name in built.levels:
        gradient = built.get_parameter(f"blocks.{name}.scale_and_shift.weight").grad
        assert gradient is not None
        assert gradient.norm() > 1e-5, name
    for parameter in built.time.parameters():
        assert parameter.grad is not None
        assert parameter.grad.norm() > 1e-5


@torch.no_grad()
def test_noise_label_is_scaled_before_its_sinusoids() -> None:
    built, (x, label) = network(time_scale=1000.0).double(), question()
    plain = network(time_scale=1.0).double()
    assert torch.equal(built.raw(x, label), plain.raw(x, 1000 * label))
    assert not torch.equal(built.raw(x, label), built.raw(x, label + 1e-3))


@torch.no_grad()
def test_the_way_through_two_levels() -> None:
    """Block, attention, skip, 1x1 convolution, SiLU, half the size; and back, the skip after what was widened."""
    built, (x, label) = network(attention_levels=(0,), time_scale=3.0).double(), question()
    one, two = built.time.linear1, built.time.linear2
    rates = 10000.0 ** (-torch.arange(8) / 8)
    angles = 3 * label[:, None].float() * rates
    e = silu(two(silu(one(torch.cat([angles.cos(), angles.sin()], dim=1).double()))))

    def through(name: str, state: Tensor) -> Tensor:
        return built.blocks[name](state, e, Integration("rk4"))[0]

    skip = built.attention["down1"](through("down1", built.start(x)))
    below = through("bottom", interpolate(silu(built.down[0](skip)), scale_factor=0.5, mode="bilinear"))
    above = interpolate(below, scale_factor=2, mode="bilinear")
    state = built.attention["up1"](through("up1", silu(built.up[0](torch.cat([above, skip], dim=1)))))
    torch.testing.assert_close(built.raw(x, label), built.out(state), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
def test_every_weight_learns(gradient: str) -> None:
    built = network(attention_levels=(1,), gradient=gradient, tau_input=True)
    built.loss(torch.rand(4, 1, 8, 8), torch.Generator().manual_seed(0)).backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0, name


def test_gradients_of_the_adjoint_tend_to_the_direct_ones() -> None:
    images, off = torch.rand(2, 1, 8, 8).double(), []
    for steps in (1, 4):
        found = []
        for gradient in ("direct", "adjoint"):
            built = network(gradient=gradient, ode_steps=steps).double()
            built.loss(images, torch.Generator().manual_seed(0)).backward()
            found.append(torch.cat([p.grad.flatten() for p in built.parameters() if p.grad is not None]))
        off.append(float((found[0] - found[1]).norm() / found[0].norm()))
    assert off[1] < min(5e-3, off[0] / 50), off


@torch.no_grad()
@pytest.mark.parametrize(("nf", "parameters", "macs"), [(16, 4_163_299, 1.135e9), (24, 8_715_859, 2.537e9)])
def test_size_and_work_are_those_of_the_specification(nf: int, parameters: int, macs: float) -> None:
    built = ContinuousUNet(ContinuousUNetParams(channels=channels_of(nf), **PAPER), RGB64).eval()
    assert sum(p.numel() for p in built.parameters()) == parameters
    found = count_flops(built, torch.randn(1, 3, 64, 64), torch.ones(1)) / 2
    assert round(found / 1e9, 3) == macs / 1e9


@torch.no_grad()
def test_nine_blocks_are_evaluated_four_times_a_step_each() -> None:
    built = ContinuousUNet(ContinuousUNetParams(channels=channels_of(8)), DataShape(3, 32)).eval()
    names = ["down1", "down2", "down3", "down4", "bottom", "up1", "up2", "up3", "up4"]
    for n in (1, 3):
        _, counts = built.raw_counted(torch.randn(1, 3, 32, 32), torch.zeros(1), Integration("rk4", n))
        assert counts == dict.fromkeys(names, 4 * n)


@contextmanager
def calls_counted(built: ContinuousUNet) -> Iterator[dict[str, int]]:
    """Count what runs by watching the first convolution of every block, independently of the solver's own count."""
    counts = dict.fromkeys(built.levels, 0)

    def watched(name: str) -> Any:
        def hook(*_: Any) -> None:
            counts[name] += 1

        return built.get_submodule(f"blocks.{name}.acceleration.conv1").register_forward_hook(hook)

    hooks = [watched(name) for name in counts]
    yield counts
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def test_counts_come_back_by_value_and_are_what_ran() -> None:
    built, (x, label) = network(channels=(8, 8, 8)).double(), question()
    by_hand = [Integration("rk4"), Integration("dopri5", tolerance=1e-2), Integration("dopri5", tolerance=1e-6)]
    told = []
    for integration in by_hand:
        with calls_counted(built) as ran:
            _, counts = built.raw_counted(x, label, integration)
        assert counts == ran
        told.append(dict(counts))
    assert sum(told[0].values()) < sum(told[1].values()) < sum(told[2].values())
    assert built.raw_counted(x, label)[1] == told[0] == dict.fromkeys(built.levels, 4)


@torch.no_grad()
def test_work_is_linear_in_evaluations_and_weights_do_not_depend_on_the_solver() -> None:
    x, sigma, found, names = torch.randn(1, 1, 8, 8), torch.ones(1), {}, set()
    for solver, steps, evaluations in (
        ("euler", 1, 1),
        ("midpoint", 1, 2),
        ("rk4", 1, 4),
        ("rk4", 2, 8),
        ("euler", 5, 5),
    ):
        built = network(ode_solver=solver, ode_steps=steps, attention_levels=(1,))
        found[evaluations] = count_flops(built, x, sigma)
        names.add(tuple((name, tuple(p.shape)) for name, p in built.named_parameters()))
    each = found[2] - found[1]
    assert each == 2 * 3 * 27 * 4**2 * 8**2  # three blocks of 27 c² multiply-adds a pixel; c doubles as the area falls
    assert {n: found[1] + (n - 1) * each for n in found} == found
    assert len(names) == 1


@pytest.mark.parametrize("changes", [{}, {"tau_input": True, "ode_steps": 3}, {"profile": "authors"}])
def test_two_counters_agree_to_the_last_integer(changes: dict[str, Any]) -> None:
    built = network(attention_levels=(1,), **changes)
    assert cross_check(built, DataShape(1, 8)).agree
    assert coverage(built, torch.randn(1, 1, 8, 8), torch.ones(1)) == 1.0


@torch.no_grad()
def test_copies_inference_mode_and_strict_loading() -> None:
    built, (x, label) = network(attention_levels=(1,)).double(), question()
    other = network(attention_levels=(1,), ode_steps=2).double()
    other.load_state_dict(built.state_dict(), strict=True)
    expected = built.raw(x, label)
    assert torch.equal(copy.deepcopy(built).raw(x, label), expected)
    assert torch.equal(other.raw_counted(x, label, Integration("rk4"))[0], expected)
    with torch.inference_mode():
        assert torch.equal(built.raw(x, label), expected)
        assert built.raw_counted(x, label, Integration("dopri5", tolerance=1e-3))[0].isfinite().all()


@torch.no_grad()
def test_rows_do_not_see_each_other_under_fixed_steps() -> None:
    built, (x, label) = network(attention_levels=(1,)).double(), question()
    alone = torch.cat([built.raw(x[i : i + 1], label[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(built.raw(x, label), alone, rtol=0, atol=1e-13)


def test_halving_by_means_is_bilinear() -> None:
    x = torch.randn(2, 3, 8, 8).double()
    torch.testing.assert_close(avg_pool2d(x, 2), interpolate(x, scale_factor=0.5, mode="bilinear"))


def test_refusals() -> None:
    sound: dict[str, Any] = {"channels": (8, 16), "norm_groups": 4}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"channels": (8, 15)}, r"channels \[15\] are odd"),
        ({"channels": (8, 12)}, r"channels \[12\] have halves that are no multiples of norm_groups = 4"),
        ({"attention_levels": (2,)}, "levels 0 to 1"),
        ({"ode_solver": "dopri5"}, "found no tolerance"),
        ({"ode_steps": 0}, "greater than or equal to 1"),
        ({"ode_solver": "rk5"}, "'euler', 'midpoint'"),
        ({"tolerance": 1e-3}, "takes fixed steps"),
        ({"ode_solver": "dopri5", "tolerance": 1e-3, "ode_steps": 2}, "chooses its own steps"),
        ({"profile": "authors"}, 'profile "authors" has no norm_groups'),
    ]
    for changes, sentence in wrong:
        with pytest.raises(ValidationError, match=sentence):
            ContinuousUNetParams(**{**sound, **changes})
    for tolerance in (0, 0.0, -1e-3, math.nan, math.inf):
        with pytest.raises(ValidationError, match="an ODE tolerance .* above 0: take for instance 1e-3"):  # noqa: RUF043
            ContinuousUNetParams(**sound, ode_solver="dopri5", tolerance=tolerance)
    with pytest.raises(ValueError, match="resolution 6 is not divisible by 4"):
        network(DataShape(1, 6), channels=(8, 8, 8))
    with pytest.raises(ValueError, match="one pixel below"):
        network(DataShape(1, 2), profile="authors")
    assert ContinuousUNetParams(**sound).fixed_cost
    assert not ContinuousUNetParams(**sound, ode_solver="dopri5", tolerance=1e-3).fixed_cost


def test_cards_are_the_counterparts_they_say() -> None:
    discrete, small = load_network_card("unet-8"), load_network_card("cunet-8")
    assert small.train is not None
    assert discrete.train is not None
    assert small.train.model_copy(update={"lr": discrete.train.lr}) == discrete.train
    shared = ("sigma_data", "p_mean", "p_std", "time_scale")
    assert {k: small.params[k] for k in shared} == {k: discrete.params[k] for k in shared}
    assert small.params["channels"] == [2 * c for c in discrete.params["channels"]]  # position and velocity
    assert sum(p.numel() for p in build_network(small, DataShape(1, 8)).parameters()) == 66_689
    with torch.device("meta"):
        large = build_network(load_network_card("cunet-64"), RGB64)
    assert sum(p.numel() for p in large.parameters()) == 8_715_859
    with pytest.raises(UsageError, match="tolerance is 0; .*an ODE tolerance is the error allowed") as caught:  # noqa: RUF043
        build_network(
            load_network_card("cunet-8", {"params": {"ode_solver": "dopri5", "tolerance": 0}}), DataShape(1, 8)
        )
    assert "\n" not in str(caught.value)
