"""Early exit by time: tables, what is skipped and what never is, rows of different depths, and work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from kit.block_kit import FAMILIES, both, network
from torch import Tensor

from harness.measure.flops import count_flops
from methods.denoisers.early_exit import EarlyExit
from methods.denoisers.early_exit_depths import ByTime
from methods.networks.base import DataShape
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.dit import DiTParams
from methods.networks.uvit import UViT, UViTParams

DEPTHS = {"uvit": (3, 0, 2, 3, 1), "dit": (6, 1, 4, 6, 2)}  # of five rows: all, least, and some between, in no order


def question(dtype: torch.dtype = torch.float32, rows: int = 5) -> tuple[Tensor, Tensor]:
    """Return a scaled input and its noise labels."""
    x = torch.randn(rows, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return x, torch.linspace(0, 999, rows, dtype=dtype)


def level(built: BlockNetwork, *times: float) -> Tensor:
    """Return the levels of times in a network's own process."""
    return built.preconditioning.process.sigma(torch.tensor(times, dtype=torch.float64))  # type: ignore[attr-defined]


def bodies(built: BlockNetwork) -> list[tuple[str, ...]]:
    """Return the name prefixes of what depth d + 1 runs and depth d does not, from the least depth on."""
    if isinstance(built, UViT):
        return [tuple(f"out_blocks.{j}.{part}." for part in ("norm1", "attn", "norm2", "mlp")) for j in range(3)]
    return [(f"blocks.{j}.",) for j in range(1, built.n_blocks)]


def sentence(schedule: Any, params: BlockParams) -> str | None:
    return EarlyExit(schedule=schedule).refusal({}, 10, params)


def test_tables_by_name() -> None:
    uvit, dit = (
        UViTParams(depth=12, width=8, heads=1, patch=2).exits,
        DiTParams(depth=28, width=8, heads=1, patch=2).exits,
    )
    assert EarlyExit().table(uvit) == (6, 6, 5, 5, 4, 4, 3, 3, 2, 2)
    assert EarlyExit(schedule="full").table(uvit) == (6,) * 10
    assert EarlyExit(schedule="strong").table(uvit)[-2:] == (0, 0)
    assert EarlyExit(schedule="mild").table(uvit)[-2:] == (4, 4)
    assert EarlyExit(schedule="steep").table(uvit) == (6, 4, 2, 0, 0, 0, 0, 0, 0, 0)
    assert EarlyExit(schedule="demo").table(dit) == (28, 28, 24, 24, 20, 20, 16, 16, 12, 12)
    assert EarlyExit(schedule=(1, 2, 6)).table(uvit) == (1, 2, 6)


@both
@pytest.mark.parametrize("depth", [2, 4, 6, 12, 28])
def test_named_tables_fall_from_all_blocks_and_stay_within_the_exits(family: str, depth: int) -> None:
    exits = FAMILIES[family][1](depth=depth, width=8, heads=1, patch=2).exits
    tables = [EarlyExit(schedule=name).table(exits) for name in ("full", "mild", "medium", "strong")]
    for table in tables:
        assert table[:2] == (exits[-1],) * 2
        assert list(table) == sorted(table, reverse=True)
        assert set(table) <= set(exits)
    assert [sum(table) for table in tables] == sorted((sum(table) for table in tables), reverse=True)
    assert tables[3][-1] == exits[0]


def test_boundaries_of_the_demo_schedule_belong_to_the_noisier_interval() -> None:
    built = network("dit", depth=28, preconditioning="vp-discrete")
    denoiser, x = EarlyExit(schedule="demo").build(built), torch.zeros(1, 1, 8, 8)
    expected = {0: 28, 199: 28, 200: 24, 399: 24, 400: 20, 599: 20, 600: 16, 799: 16, 800: 12, 999: 12}
    for tau, depth in expected.items():
        assert denoiser(x, level(built, tau / 1000), 0)[1] == {f"depth-{depth}": 1}, tau
    depths = EarlyExit(schedule="demo").depths(built, {})
    every = level(built, *(tau / 1000 for tau in range(1000)))
    assert depths.at(every).tolist() == [28 - 4 * (tau // 200) for tau in range(1000)]


@pytest.mark.parametrize("preconditioning", ["edm", "vp", "vp-discrete"])
def test_the_ends_of_time_are_in_the_table(preconditioning: str) -> None:
    depths = ByTime(range(10), network(preconditioning=preconditioning).diffusion_time)
    sigmas = torch.tensor([1e-9, 0.002, 152.17, 157.5, 1e6], dtype=torch.float64)
    assert depths.at(sigmas).tolist() == [0, 0, 9, 9, 9]


def test_tables_that_do_not_fit_are_refused() -> None:
    uvit, dit = (params(depth=6, width=8, heads=1, patch=2) for _, params in FAMILIES.values())
    assert sentence("demo", dit) == 'schedule "demo" is written for 28 blocks; the network has 6, take another schedule'
    assert sentence((3, 4), uvit) == "schedule [3, 4] holds [4]; the network can run 0 to 3"
    assert sentence((3, -1), uvit) == "schedule [3, -1] holds [-1]; the network can run 0 to 3"
    assert sentence((6, 0), dit) == "schedule [6, 0] holds [0]; the network can run 1 to 6"
    assert sentence((), dit) == "schedule [] holds no depth; the network can run 1 to 6"
    for params in (uvit, dit):
        assert [sentence(name, params) for name in ("full", "mild", "medium", "strong", (1, 2, 3))] == [None] * 5
    assert sentence("demo", DiTParams(depth=28, width=8, heads=1, patch=2)) is None


@both
def test_networks_without_a_null_class_are_refused_where_they_would_be_tuned(family: str) -> None:
    """Sampled as they are, they are not; and a table that does not fit is said first."""
    built = network(family, classes=3, null_class=False)
    refusal = "it tunes on images without their classes, and this network has no embedding for no class"
    assert sentence("medium", built.params) == refusal
    assert str(sentence((9,), built.params)).startswith("schedule [9] holds [9]")
    untuned = EarlyExit(schedule="full", tune_steps=0)
    assert untuned.refusal({}, 10, built.params) is None
    x, sigma = question()[0], level(built, 0.95, 0.05, 0.5, 0.15, 0.7)
    built.row_classes = torch.tensor([0, 1, 2, 1, 0])
    assert torch.equal(untuned.build(built)(x, sigma, 0)[0], built(x, sigma))
    assert sentence("medium", network(family, classes=3).params) is None


@both
def test_all_blocks_are_the_unmodified_network(family: str) -> None:
    """Bitwise, for one depth, for a depth per row and for a schedule; and by the blocks one by one."""
    built, (x, label) = network(family), question()
    last = built.exits[-1]
    whole = built.raw(x, label)
    assert torch.equal(built.raw(x, label, last), whole)
    assert torch.equal(built.raw(x, label, torch.full((5,), last)), whole)
    sigma = level(built, 0.0, 0.3, 0.5, 0.9, 1.0)
    denoised, units = EarlyExit(schedule="full").build(built)(x, sigma, 0)
    assert torch.equal(denoised, built(x, sigma))
    assert units == {f"depth-{last}": 1}


@both
def test_skipped_weights_are_never_read(family: str) -> None:
    built, (x, label) = network(family), question()
    expected = {depth: built.raw(x, label, depth) for depth in built.exits}
    for depth, prefixes in reversed([*zip(built.exits, bodies(built), strict=False)]):
        for name, parameter in built.named_parameters():
            if name.startswith(prefixes):
                parameter.fill_(math.nan)
        assert torch.equal(built.raw(x, label, depth), expected[depth])
        assert built.raw(x, label, depth + 1).isnan().any()


def test_encoder_middle_and_every_skip_are_always_read() -> None:
    x, label = question()
    always = [name for name, _ in network().named_parameters() if "skip_linear" in name or not name.startswith("out_")]
    assert len([name for name in always if "skip_linear" in name]) == 2 * 3
    for name in always:
        built = network()
        built.get_parameter(name).fill_(math.nan)
        assert built.raw(x, label, 0).isnan().any(), name


@both
def test_gradients_stop_at_skipped_blocks_and_reach_the_rest(family: str) -> None:
    built = network(family).requires_grad_(True)
    x, label = question(rows=1)
    depth = built.exits[0] + 1
    for asked in (depth, torch.tensor([depth])):
        built.zero_grad(set_to_none=True)
        built.raw(x, label, asked).square().mean().backward()
        skipped = tuple(prefix for prefixes in bodies(built)[1:] for prefix in prefixes)
        for name, parameter in built.named_parameters():
            if name.startswith(skipped):
                assert parameter.grad is None or not parameter.grad.any(), name
            elif name not in built.fixed:
                assert parameter.grad is not None, name
                assert parameter.grad.any(), name


@both
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_mixed_depths_are_the_rows_one_by_one(family: str, dtype: torch.dtype, tolerance: float) -> None:
    built, (x, label) = network(family).to(dtype), question(dtype)
    together = built.raw(x, label, torch.tensor(DEPTHS[family]))
    alone = [built.raw(x[i : i + 1], label[i : i + 1], depth) for i, depth in enumerate(DEPTHS[family])]
    assert together.abs().max() < 4  # so that the tolerance means something
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=tolerance)


@both
def test_gradients_of_mixed_depths_are_those_of_the_rows(family: str) -> None:
    x, label = question(torch.float64)
    found = []
    for rows in ([slice(0, 5)], [slice(i, i + 1) for i in range(5)]):
        built = network(family).double().requires_grad_(True)
        depths = torch.tensor(DEPTHS[family])
        for row in rows:
            depth: int | Tensor = depths[row] if len(rows) == 1 else int(depths[row])
            built.raw(x[row], label[row], depth).square().sum().backward()
        found.append({name: p.grad for name, p in built.named_parameters() if name not in built.fixed})
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-10)


@both
def test_rows_at_different_times_run_and_are_counted_apart(family: str) -> None:
    built, x = network(family), question()[0]
    denoiser, sigma = EarlyExit(schedule="strong").build(built), level(built, 0.95, 0.05, 0.5, 0.15, 0.7)
    denoised, units = denoiser(x, sigma, 0)
    table = EarlyExit(schedule="strong").table(built.exits)
    depths = [table[i] for i in (9, 0, 5, 1, 7)]
    assert {name: value.tolist() for name, value in units.items()} == {  # type: ignore[union-attr]
        f"depth-{depth}": [int(depth == found) for found in depths] for depth in set(table)
    }
    for i, depth in enumerate(depths):
        alone, unit = denoiser(x[i : i + 1], sigma[i : i + 1], 0)
        assert unit == {f"depth-{depth}": 1}
        torch.testing.assert_close(denoised[i : i + 1], alone, rtol=1e-5, atol=1e-4)


def work(built: BlockNetwork, schedule: Any, times: Sequence[float]) -> int:
    """Return the FLOPs of a trajectory of one image: each call's units, times what each unit costs."""
    denoiser, x = EarlyExit(schedule=schedule).build(built), torch.zeros(1, 1, 8, 8)
    costs = {name: count_flops(call, x, torch.ones(1)) for name, call in denoiser.units().items()}
    ran = [denoiser(x, level(built, time), 0)[1] for time in times]
    return sum(costs[name] * int(count) for units in ran for name, count in units.items())


@both
def test_work_of_a_trajectory_falls_with_every_block_left_out(family: str) -> None:
    built, times = network(family), [0.05 + i / 10 for i in range(10)]
    whole = work(built, "full", times)
    assert whole == 10 * count_flops(built, torch.zeros(1, 1, 8, 8), torch.ones(1))
    last = built.exits[-1]
    totals = [work(built, (last,) * (10 - n) + (last - 1,) * n, times) for n in range(11)]
    assert totals[0] == whole
    steps = {before - after for before, after in pairwise(totals)}
    tokens, width = (17, 16) if family == "uvit" else (16, 16)
    body = 2 * (12 * width**2 * tokens + 2 * tokens**2 * width)
    assert steps == {body if family == "uvit" else body + 2 * 6 * width**2}


@both
def test_work_of_mixed_depths_is_the_sum_of_the_rows(family: str) -> None:
    """Training pays for the blocks that run, no more."""
    built, (x, label) = network(family), question()
    rows = [count_flops(lambda d=d: built.raw(x[:1], label[:1], d)) for d in DEPTHS[family]]
    assert count_flops(lambda: built.raw(x, label, torch.tensor(DEPTHS[family]))) == sum(rows)


def test_skips_stay_when_all_bodies_go() -> None:
    """All six of U-ViT-S/2 are 43.1 % of the work; 49.7 % would mean that skip_linear went too."""
    with torch.device("meta"):
        built = UViT(UViTParams(depth=12, width=512, heads=8, patch=2), DataShape(3, 32))
        x, label = torch.zeros(1, 3, 32, 32), torch.ones(1)
        counts = [count_flops(lambda k=k: built.raw(x, label, k)) for k in built.exits]
    assert 1 - counts[0] / counts[6] == pytest.approx(0.431, abs=5e-4)
    assert {round((more - less) / counts[6], 4) for less, more in pairwise(counts)} == {0.0718}


@pytest.mark.slow
@both
def test_compiled_depths_answer_as_the_eager_ones(family: str) -> None:
    built, x = network(family, depth=2), question()[0]
    eager, fast = (EarlyExit(schedule="strong", compiled=c).build(built) for c in (False, True))
    for times in ([0.95] * 5, [0.05] * 5, [0.95] * 5, [0.95, 0.05, 0.5, 0.15, 0.7]):
        sigma = level(built, *times)
        (expected, units), (found, same) = eager(x, sigma, 0), fast(x, sigma, 0)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
        assert str(units) == str(same)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@both
@pytest.mark.parametrize("preconditioning", ["edm", "vp", "vp-discrete"])
def test_sampling_on_a_gpu_never_waits_for_it(family: str, preconditioning: str) -> None:
    """At one level for all rows, and at a level per row."""
    built = network(family, preconditioning=preconditioning)
    expected = EarlyExit(schedule="strong").build(built)
    there, x = (
        EarlyExit(schedule="strong").build(network(family, preconditioning=preconditioning).cuda()),
        question()[0],
    )
    for sigma in (torch.full((5,), 0.5, dtype=torch.float64), torch.tensor([9.0, 0.02, 1.0, 0.1, 99.0]).double()):
        on_gpu = x.cuda()
        there(on_gpu, sigma, 0)  # the first call may set libraries up
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            found, _ = there(on_gpu, sigma, 0)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.testing.assert_close(found.cpu(), expected(x, sigma, 0)[0], rtol=1e-2, atol=1e-2)
