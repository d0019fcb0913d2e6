"""Deployed kernels: what they set on a GPU, what is compiled, and that images stay the same but for rounding."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo.utils
from kit import block_kit
from torch import Tensor, nn

from harness.config.network_card import load_network_card
from harness.data.cards import load_card
from harness.measure.operator_flops import operator_flops
from harness.sampling.deployed import (
    MOST_SHAPES,
    CompiledCall,
    compile_seconds,
    deploy_modules,
    deploy_network,
    kernels_of,
)
from harness.sampling.deployed import repeated_modules as repeated
from harness.sampling.network import build_network
from methods.denoisers.ddsm import DDSM
from methods.denoisers.early_exit import EarlyExit
from methods.denoisers.full import Full
from methods.networks.base import DataShape, Network
from methods.networks.uvit import UViTBlock

CPU, GPU = torch.device("cpu"), torch.device("cuda")
Compiled = list[dict[str, Any]]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compiled]:
    """Let torch trace what it compiles and run it without code of its own; return with what it was called."""
    real, seen = torch.compile, Compiled()

    def compile_traced(call: Callable[..., Any], **how: Any) -> Any:
        seen.append(how)
        return real(call, dynamic=how["dynamic"], backend="eager")

    monkeypatch.setattr(torch, "compile", compile_traced)
    torch._dynamo.utils.counters.clear()
    yield seen
    torch._dynamo.reset()


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Compiled:
    """Return with what torch would have compiled; nothing is."""
    seen = Compiled()

    def compile_nothing(call: Callable[..., Any], **how: Any) -> Any:
        seen.append(how)
        return call

    monkeypatch.setattr(torch, "compile", compile_nothing)
    return seen


def settings() -> tuple[Any, ...]:
    cudnn = torch.backends.cudnn
    return torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.benchmark, cudnn.deterministic


def test_the_kernels_of_a_gpu_are_deployed_inside_the_block_alone() -> None:
    before = settings()
    with kernels_of("deployed", GPU):
        assert settings() == ("tf32", "tf32", True, False)
    assert settings() == before
    with pytest.raises(KeyError), kernels_of("deployed", GPU):
        raise KeyError
    assert settings() == before

    for mode, device in (("reproducible", GPU), ("deployed", CPU)):
        with kernels_of(mode, device):  # type: ignore[arg-type]
            assert settings() == before


def network(name: str) -> Network:
    if name in block_kit.FAMILIES:
        return block_kit.network(name, depth=4)
    torch.manual_seed(0)
    found = build_network(load_network_card(name), DataShape(1, 8))
    for parameter in found.parameters():  # the last layer of a fresh one is 0
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return found.eval().requires_grad_(False)


def question(rows: int = 3) -> tuple[Tensor, Tensor]:
    x = torch.randn(rows, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return x, torch.full((rows,), 0.7, dtype=torch.float64)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["uvit", "dit", "unet-tiny", "slim-8"])
def test_a_deployed_network_is_compiled_and_answers_as_the_plain_one(name: str, traced: Compiled) -> None:
    plain, (x, sigma) = network(name), question()
    expected = plain(x, sigma)
    deploy_network(plain, CPU)
    assert not traced  # nothing before it is called
    torch.testing.assert_close(plain(x, sigma), expected, rtol=1e-5, atol=1e-6)
    assert traced == [{"dynamic": False}]
    plain(x, sigma)
    assert len(traced) == 1

    for rows in range(1, MOST_SHAPES + 3):
        plain(*question(rows))
    assert traced[-1] == {"dynamic": True}
    assert not torch._dynamo.utils.counters["graph_break"]  # one piece of code, for one shape and for all


@torch.inference_mode()
def test_copies_of_a_deployed_network_run_their_own_weights_compiled(noted: Compiled) -> None:
    plain, (x, sigma) = network("uvit"), question()
    deploy_network(plain, GPU)
    other = copy.deepcopy(plain)
    for parameter in other.parameters():
        parameter.mul_(1.5)
    before, found = plain(x, sigma), other(x, sigma)
    assert len(noted) > 1  # both are compiled, and their pieces
    assert not torch.allclose(before, found)

    eager = network("uvit")
    eager.load_state_dict(other.state_dict())
    torch.testing.assert_close(found, eager(x, sigma))


def test_pieces_are_the_outermost_modules_that_a_network_has_several_times() -> None:
    kinds = {type(one).__name__ for one in repeated(network("dit"))}
    assert "DiTBlock" in kinds
    assert not kinds & {"Linear", "LayerNorm", "ModuleList", "Attention"}  # torch's, and what blocks hold
    uvit = {type(one).__name__ for one in repeated(network("uvit"))}
    assert {"Attention", "Mlp"} <= uvit  # a U-ViT's blocks are called by other names than forward
    assert UViTBlock.__name__ not in uvit
    assert repeated(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == []


@torch.inference_mode()
def test_each_shape_and_setting_is_compiled_once_and_many_shapes_share_one(noted: Compiled) -> None:
    call = CompiledCall(lambda x, depth=0: x + depth, whole=True, device=CPU)
    for rows in (1, 2, 1, 2):
        assert torch.equal(call(torch.zeros(rows)), torch.zeros(rows))
        assert torch.equal(call(torch.zeros(rows), depth=3), torch.full((rows,), 3.0))
    assert noted == [{"dynamic": False}] * 4

    for rows in range(3, 9):
        call(torch.zeros(rows))
    assert noted[4:] == [{"dynamic": False}] * (MOST_SHAPES - 2) + [{"dynamic": True}]


@torch.inference_mode()
def test_whole_calls_on_a_gpu_replay_graphs_whose_output_is_copied(noted: Compiled) -> None:
    kept = torch.ones(2)
    whole = CompiledCall(lambda x: kept, whole=True, device=GPU)
    found = whole(torch.zeros(2))
    kept.zero_()  # as the next replay does
    assert torch.equal(found, torch.ones(2))
    CompiledCall(lambda x: x, whole=False, device=GPU)(torch.zeros(2))
    assert noted == [{"dynamic": False, "mode": "reduce-overhead"}, {"dynamic": None}]


@torch.inference_mode()
def test_seconds_of_compiling_are_those_of_the_first_calls_of_all_its_compilations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def compile_slowly(call: Callable[..., Any], **how: Any) -> Any:
        left = [10.0, 2.0 if how.get("mode") else 0.1]  # a graph is recorded at the second call

        def compiled(*tensors: Any) -> Any:
            now[0] += left.pop(0) if left else 0.1
            return call(*tensors)

        return compiled

    monkeypatch.setattr(torch, "compile", compile_slowly)
    call = CompiledCall(lambda x: x, whole=True, device=CPU)
    for rows in (1, 1, 1, 2, 2):
        call(torch.zeros(rows))
    assert call.first_seconds == pytest.approx(20.0)
    graph = CompiledCall(lambda x: x, whole=True, device=GPU)
    for _ in range(4):
        graph(torch.zeros(1))
    assert graph.first_seconds == pytest.approx(12.0)

    # of a network, and of what a denoiser made besides
    plain, (x, sigma) = network("uvit"), question()
    denoiser = Full().build(plain)
    assert compile_seconds(plain, denoiser) is None
    deploy_network(plain, CPU)
    assert compile_seconds(plain, denoiser) == 0.0
    for _ in range(2):
        plain(x, sigma)
    assert compile_seconds(plain, denoiser) == pytest.approx(10.0)  # once, though both have it


def test_what_is_counted_or_learns_is_not_compiled(noted: Compiled) -> None:
    plain, (x, sigma) = network("uvit"), question()
    with torch.inference_mode(), operator_flops() as expected:
        plain(x, sigma)
    deploy_network(plain, CPU)
    with torch.inference_mode(), operator_flops() as found:
        plain(x, sigma)
    assert found == expected
    assert sum(found.values()) > 0
    plain(x, sigma)  # gradients are kept
    assert not noted


@torch.inference_mode()
def test_methods_that_run_a_network_in_pieces_are_compiled_too(noted: Compiled) -> None:
    x, sigma = question()

    def calls_of(name: str, method: Any, device: torch.device = CPU) -> Compiled:
        noted.clear()
        deployed = network(name)
        deploy_network(deployed, device)
        built = method.build(deployed)
        deploy_modules(built, device)
        built(x, sigma, 0)
        return list(noted)

    assert calls_of("uvit", Full())[0] == {"dynamic": False}
    assert calls_of("uvit", EarlyExit(schedule="strong"))[0] == {"dynamic": False}
    assert calls_of("slim-8", DDSM(widths=(0.5,)))[0] == {"dynamic": False}
    sigma = torch.tensor([9.0, 0.02, 1.0], dtype=torch.float64)  # a depth for each row: no whole call
    assert calls_of("uvit", EarlyExit(schedule="strong")) == []
    pieces = calls_of("uvit", EarlyExit(schedule="strong"), GPU)
    assert pieces == [{"dynamic": None}] * len(pieces) != []


@pytest.mark.parametrize("name", ["analytic", "cunet-8"])
def test_what_cannot_be_compiled_stays_as_it_is(name: str) -> None:
    data = load_card("gaussian" if name == "analytic" else "digits")
    found = build_network(load_network_card(name), data.shape())
    before = dict(vars(found))
    deploy_network(found, CPU)
    assert vars(found) == before


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize("name", ["uvit", "unet-tiny"])
def test_compiled_code_of_a_cpu_answers_as_the_plain_network(name: str) -> None:
    plain, (x, sigma) = network(name), question()
    expected = plain(x, sigma)
    deploy_network(plain, CPU)
    torch.testing.assert_close(plain(x, sigma), expected, rtol=1e-4, atol=1e-4)
