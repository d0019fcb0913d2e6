"""DeepCache: what enters the up path, which calls are whole, work, and sentences of refusal."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from kit.cache_kit import LEVELS, called, names, states, whole_estimates
from kit.toy_context import ToyContext

import harness
from harness.errors import UsageError
from harness.measure.flops import count_flops
from harness.sampling.call_counts import CallCounts
from methods.denoisers.deep_cache import DeepCache, whole_around
from methods.networks.base import DataShape
from methods.networks.diffusers_unet import DiffusersUNet, DiffusersUNetParams
from methods.networks.unet import UNet, UNetParams
from methods.parts import Artifact
from methods.solvers.heun import Heun

SIZES: dict[str, dict[str, Any]] = {
    "no middle": {"channels": (8, 16), "middle": False},
    "patch": {"channels": (8, 16), "patch": 2},
    "attention": {"channels": (8, 8, 16), "attention_levels": (0, 1), "layers_per_block": 2, "head_channels": 4},
}
each = pytest.mark.parametrize("size", [*SIZES, "diffusers"])


def network(size: str) -> UNet | DiffusersUNet:
    """Return an untrained network in which every weight matters."""
    torch.manual_seed(0)
    built: UNet | DiffusersUNet
    if size == "diffusers":
        built = DiffusersUNet(conditional(), DataShape(1, 8))
    else:
        built = UNet(UNetParams(**SIZES[size]), DataShape(1, 8))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    if size == "diffusers":
        built.row_classes = torch.tensor([0, 2, 1])
    return built.eval().requires_grad_(False)


def conditional() -> DiffusersUNetParams:
    """Return the fields of a network with classes, a centred input and resampling by residual blocks."""
    return DiffusersUNetParams(
        sample_size=8, in_channels=1, out_channels=1, center_input_sample=True, time_embedding_type="positional",
        freq_shift=0, flip_sin_to_cos=True, down_block_types=("DownBlock2D", "ResnetDownsampleBlock2D", "DownBlock2D"),
        mid_block_type="UNetMidBlock2D", up_block_types=("UpBlock2D", "ResnetUpsampleBlock2D", "UpBlock2D"),
        block_out_channels=(8, 8, 16), layers_per_block=1, mid_block_scale_factor=1.0, downsample_padding=1,
        downsample_type="conv", upsample_type="conv", dropout=0.0, act_fn="silu", attention_head_dim=4,
        norm_num_groups=4, norm_eps=1e-5, resnet_time_scale_shift="default", add_attention=True, num_class_embeds=3,
    )  # fmt: skip


def levels_of(size: str) -> int:
    return len(network(size).inner.down_blocks)


@each
def test_an_interval_of_1_is_the_whole_network_bit_for_bit(size: str) -> None:
    net, x = network(size), states()
    found, units = called(DeepCache(interval=1).build(net), x)
    assert names(units) == ["full"] * len(LEVELS)
    assert all(map(torch.equal, found, whole_estimates(net, x)))


@each
def test_a_cached_call_at_the_same_state_is_the_whole_call_bit_for_bit(size: str) -> None:
    net, x = network(size), states()
    for levels in range(1, levels_of(size)):
        built = DeepCache(interval=3, levels=levels).build(net)
        memory, sigma = built.init_memory(3), torch.full((3,), 2.0, dtype=torch.float64)
        (first, ran), (second, ran_then) = built(x, sigma, 0, memory), built(x, sigma, 0, memory)
        assert (ran, ran_then) == ({"full": 1}, {"cached": 1})
        assert torch.equal(first, net(x, sigma))
        assert torch.equal(first, second)
        # at another state what is kept is that of the first
        third, _ = built(x + 1, sigma, 1, memory)
        assert not torch.allclose(third, net(x + 1, sigma))


@each
def test_units_cost_what_their_calls_run(size: str) -> None:
    net, x = network(size), states(1)
    if size == "diffusers":
        net.row_classes = torch.tensor([1])
    sigma, shares = torch.full((1,), 2.0, dtype=torch.float64), []
    for levels in range(1, levels_of(size)):
        built = DeepCache(interval=2, levels=levels).build(net)
        memory = built.init_memory(1)
        units = {name: count_flops(call, x, sigma) for name, call in built.units().items()}
        for name in ("full", "cached"):
            assert count_flops(lambda built=built, memory=memory: built(x, sigma, 0, memory)) == units[name]
        shares.append(units["cached"] / units["full"])
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] + 1e-9 < 1


def test_the_share_of_a_cached_call_is_the_one_counted_before() -> None:
    built = harness.make_sampler("zoo:unet-8", denoiser="deep-cache", steps=6).denoiser
    x, sigma = states(1), torch.ones(1, dtype=torch.float64)
    full, cached = (count_flops(built.units()[name], x, sigma) for name in ("full", "cached"))
    assert cached / full == pytest.approx(0.45, abs=0.01)
    # timed, units run on whole batches
    assert built.units()["cached"](states(3), torch.ones(3)).shape == (3, 1, 8, 8)


def test_whole_calls_are_every_interval_th() -> None:
    units = called(DeepCache(interval=4).build(network("no middle")), states(1))[1]
    assert [k for k, name in enumerate(names(units)) if name == "full"] == [0, 4, 8]


def test_whole_calls_lie_closest_around_a_centre() -> None:
    found = whole_around(15, 50, 5, 1.4)
    assert len(found) == 10
    assert found[0] == 0
    gaps = [b - a for a, b in pairwise(found)]
    assert gaps[-1] > min(gaps)
    assert min(range(len(gaps)), key=gaps.__getitem__) in {found.index(k) for k in found if 8 <= k <= 20}
    # evenly spaced at a power of 1
    assert whole_around(20, 50, 5, 1.0) == list(range(0, 50, 5))
    for calls in (3, 7, 20):
        for interval in range(1, calls + 1):
            for centre in (0.0, 1.5, calls - 1):
                assert len(whole_around(centre, calls, interval, 1.4)) == -(-calls // interval)


def test_calls_around_a_centre_are_prepared_by_counting_a_trajectory() -> None:
    method = DeepCache(interval=3, centre=2)
    assert method.prepares
    assert not DeepCache().prepares
    left = method.prepare(ToyContext(network("no middle"), steps=5, solver=Heun()))
    assert left.facts["calls"] == 10
    units = called(method.build(network("no middle"), left), states(1))[1]
    assert [k for k, name in enumerate(names(units)) if name == "full"] == left.facts["whole"]


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    params = UNetParams(channels=(8, 16))
    assert DeepCache().refusal({}, 5, params) is None
    assert "interval is 6, more than the 5 calls" in str(DeepCache(interval=6).refusal({}, 5, params))
    assert DeepCache(interval=6).refusal({"solver": Heun()}, 5, params) is None
    assert "levels is 2 of the 2 of the network" in str(DeepCache(levels=2).refusal({}, 5, params))
    assert "centre is 5" in str(DeepCache(centre=5).refusal({}, 5, params))
    with pytest.raises(ValueError, match="power is read with a centre alone"):
        DeepCache(power=1.3)
    with pytest.raises(UsageError, match=r"fits networks of family unet, diffusers-unet"):
        harness.make_sampler("zoo:uvit-8", denoiser="deep-cache", steps=5)
    with pytest.raises(UsageError, match=r"remembers earlier calls of a trajectory"):
        harness.make_sampler("zoo:unet-8", denoiser="deep-cache", executor="srds", steps=9)


@pytest.mark.parametrize("solver", ["ddim", "heun", "unipc"])
def test_images_under_solvers_of_one_and_two_calls_do_not_depend_on_the_batch(solver: str) -> None:
    made, counts = harness.make_sampler("zoo:unet-8", denoiser="deep-cache", solver=solver, steps=6), CallCounts()
    together, calls = made.run(range(3), counts), 12 if solver == "heun" else 6
    assert counts.total_units() == {"cached": 2 * calls, "full": calls}
    assert torch.allclose(together[1:2], made.run([1]), atol=1e-4)


def test_an_artifact_decides_the_whole_calls() -> None:
    built = DeepCache(interval=3, centre=2).build(network("no middle"), Artifact(facts={"whole": [0, 2, 9]}))
    assert [k for k, name in enumerate(names(called(built, states(1))[1])) if name == "full"] == [0, 2, 9]
