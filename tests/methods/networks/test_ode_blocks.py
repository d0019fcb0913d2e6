"""Second-order blocks: what they integrate, to which order, with which gradients, and at how many evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu, softmax
from torchdiffeq import odeint

from methods.networks.ode_blocks import (
    InitialState,
    Integration,
    SecondOrderBlock,
    SelfAttention,
    second_order,
    takes_fixed_steps,
)

STAGES = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4}
C, D, EXACT = 8, 32, Integration("dopri8", tolerance=1e-12)


def block(**changes: Any) -> SecondOrderBlock:
    torch.manual_seed(0)
    settings = {"groups": 4, "tau_input": False, "zero_init": False, "adjoint": False, **changes}
    return SecondOrderBlock(2 * C, D, **settings).double()


def question(rows: int = 2) -> tuple[Tensor, Tensor]:
    """Return a state [rows, 2c, 8, 8] and an embedding [rows, d], float64."""
    generator = torch.Generator().manual_seed(1)
    state = torch.randn(rows, 2 * C, 8, 8, generator=generator, dtype=torch.float64)
    return state, torch.randn(rows, D, generator=generator, dtype=torch.float64)


def off(found: Tensor, expected: Tensor) -> float:
    """Return the relative difference in the Euclidean norm."""
    return float(((found - expected).norm() / expected.norm()).detach())


@torch.no_grad()
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4)])
@pytest.mark.parametrize("tau_input", [False, True])
def test_error_falls_with_the_order_of_the_solver(solver: Any, order: int, tau_input: bool) -> None:
    built, (state, e) = block(tau_input=tau_input), question()
    exact, _ = built(state, e, EXACT)
    errors = [off(built(state, e, Integration(solver, n))[0], exact) for n in (1, 2, 4, 8, 16)]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(abs(found - order) < 0.3 for found in orders), orders
    assert abs(orders[-1] - order) < 0.1
    assert 1e-6 < errors[0] < 0.5  # the solver's own error, not rounding


@torch.no_grad()
@pytest.mark.parametrize(("steps", "error"), [(4, 1.0e-3), (8, 6.7e-5), (16, 4.2e-6)])
def test_oscillator_has_its_closed_form(steps: int, error: float) -> None:
    """z'' = -w² z gives z(1) = z0 cos w + v0 sin(w) / w; the error is of the pair (1, 0), in z alone."""
    w = 2.0
    state = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()[..., None, None]
    found, _ = Integration("rk4", steps)(second_order(lambda tau, y: -(w**2) * y[:, :1]), state)
    z = torch.tensor([math.cos(w), math.sin(w) / w]).double()
    v = torch.tensor([-w * math.sin(w), math.cos(w)]).double()
    torch.testing.assert_close(found[:, 0, 0, 0], z, atol=4 * error, rtol=0)
    torch.testing.assert_close(found[:, 1, 0, 0], v, atol=4 * error, rtol=0)
    assert float((found[0, 0] - z[0]).abs()) == pytest.approx(error, rel=0.1)


@torch.no_grad()
def test_without_force_a_state_drifts_and_a_constant_force_is_exact() -> None:
    state, e = question()
    z, v = state.chunk(2, dim=1)
    end, _ = block(zero_init=True)(state, e, Integration("rk4"))
    assert float((end - torch.cat([z + v, v], dim=1)).abs().max()) < 1e-14
    still = torch.cat([z, torch.zeros_like(v)], dim=1)
    assert float((block(zero_init=True)(still, e, Integration("rk4"))[0] - still).abs().max()) < 1e-14
    force = second_order(lambda tau, y: torch.full_like(y[:, :C], 0.7))
    fallen, _ = Integration("rk4")(force, state)
    torch.testing.assert_close(fallen, torch.cat([z + v + 0.35, v + 0.7], dim=1), atol=1e-14, rtol=0)


@torch.no_grad()
def test_velocity_moves_the_position_and_f_reads_both_and_the_noise_level() -> None:
    built, (state, e) = block(), question()
    derivative, _ = built.system(e)
    tau = torch.zeros((), dtype=torch.float64)
    there = derivative(tau, state)
    assert torch.equal(there[:, :C], state[:, C:])
    for part in (slice(0, C), slice(C, 2 * C)):
        moved = state.clone()
        moved[:, part] += torch.linspace(-1, 1, 8).double()
        assert off(derivative(tau, moved)[:, C:], there[:, C:]) > 1e-3
    assert off(built.system(-e)[0](tau, state)[:, C:], there[:, C:]) > 1e-3
    f = built.acceleration
    h = f.norm2(f.conv1(silu(f.norm1(state))))
    gain, shift = built.scale_and_shift(e)[..., None, None].chunk(2, dim=1)
    torch.testing.assert_close(there[:, C:], f.conv2(silu(h * (1 + gain) + shift)))


@torch.no_grad()
def test_f_knows_the_place_in_the_block_only_if_asked() -> None:
    state, e = question()
    for tau_input in (False, True):
        derivative, _ = block(tau_input=tau_input).system(e)
        start, end = (derivative(torch.tensor(tau).double(), state) for tau in (0.0, 1.0))
        assert torch.equal(start, end) is not tau_input
    assert block(tau_input=True).acceleration.conv2.in_channels == C + 1


def gradients(integration: Integration, adjoint: bool) -> dict[str, Tensor]:
    """Return the gradient of a fixed function of the end state in every weight, the state and the embedding."""
    built, (state, e) = block(adjoint=adjoint), question()
    state.requires_grad_()
    e.requires_grad_()
    end, _ = built(state, e, integration)
    (end * torch.linspace(-1, 1, end.numel(), dtype=end.dtype).reshape(end.shape)).sum().backward()
    asked = {**dict(built.named_parameters()), "state": state, "embedding": e}
    assert all(tensor.grad is not None for tensor in asked.values())
    return {name: tensor.grad for name, tensor in asked.items() if tensor.grad is not None}


def furthest(found: dict[str, Tensor], expected: dict[str, Tensor]) -> tuple[float, float]:
    """Return the largest relative difference of any tensor, and that of all of them taken as one vector."""
    whole = [torch.cat([g[name].flatten() for name in g]) for g in (found, expected)]
    return max(off(found[name], expected[name]) for name in expected), off(*whole)


def test_adjoint_gradient_tends_to_the_direct_one_in_every_tensor() -> None:
    """Of the noise level too, which gets none if its scale and shift are not among the adjoint's parameters."""
    rk4 = [Integration("rk4", n) for n in (1, 2, 4, 8, 16)]
    found = [furthest(gradients(each, adjoint=True), gradients(each, adjoint=False)) for each in rk4]
    assert all(a / b > 8 for (_, a), (_, b) in pairwise(found)), found
    assert 1e-4 < found[0][1] < 3e-2
    assert found[-1][1] < 1e-6
    assert all(tensor < 40 * whole for tensor, whole in found), found
    tight = Integration("dopri5", tolerance=1e-9)
    assert furthest(gradients(tight, adjoint=True), gradients(tight, adjoint=False))[0] < 1e-6


def rule(derivative: Callable[..., Tensor], y: Tensor, n: int, nodes: Sequence[Sequence[float]]) -> Tensor:
    """Return the state after n steps of a Runge-Kutta rule: rows of its matrix, then its weights."""
    h = 1 / n
    for i in range(n):
        k: list[Tensor] = []
        for row in nodes[:-1]:
            tau = torch.tensor(h * (i + sum(row)), dtype=y.dtype)
            k.append(derivative(tau, y + h * sum((a * b for a, b in zip(row, k, strict=True)), torch.zeros_like(y))))
        y = y + h * sum((a * b for a, b in zip(nodes[-1], k, strict=True)), torch.zeros_like(y))
    return y


@torch.no_grad()
@pytest.mark.parametrize("tau_input", [False, True])
def test_rk4_is_the_rule_of_three_eighths(tau_input: bool) -> None:
    eighths = ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0), (1 / 8, 3 / 8, 3 / 8, 1 / 8))
    classical = ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
    built, (state, e) = block(tau_input=tau_input), question()
    derivative, _ = built.system(e)
    apart = []
    for n in (1, 2, 3, 4):
        found, _ = built(state, e, Integration("rk4", n))
        assert off(found, rule(derivative, state, n, eighths)) < 1e-14
        apart.append(off(found, rule(derivative, state, n, classical)))
    assert apart[0] > 1e-5
    assert all(a > 2 * b for a, b in pairwise(apart))


@torch.no_grad()
def test_state_as_one_tensor_equals_the_pair() -> None:
    built, (state, e) = block(), question()
    derivative, _ = built.system(e)

    def pair(tau: Tensor, zv: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        return derivative(tau, torch.cat(zv, dim=1)).chunk(2, dim=1)

    z, v = odeint(pair, tuple(state.chunk(2, dim=1)), torch.tensor([0.0, 1.0]).double(), method="rk4")
    assert off(built(state, e, Integration("rk4"))[0], torch.cat([z[-1], v[-1]], dim=1)) < 1e-14


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("solver", STAGES)
def test_evaluations_are_those_of_the_forward_pass(solver: Any, adjoint: bool) -> None:
    built, (state, e) = block(adjoint=adjoint), question()
    for n in (1, 2, 3, 7, 10):
        end, evaluations = built(state, e, Integration(solver, n))
        end.sum().backward()
        assert evaluations == STAGES[solver] * n
    assert takes_fixed_steps(solver)


@torch.no_grad()
def test_tighter_tolerance_asks_more_and_errs_less() -> None:
    built, (state, e) = block(), question()
    exact, _ = built(state, e, EXACT)
    for solver in ("adaptive_heun", "fehlberg2", "bosh3", "dopri5"):
        found = [built(state, e, Integration(solver, tolerance=t)) for t in (1e-2, 1e-5)]  # type: ignore[arg-type]
        assert found[0][1] < found[1][1]
        assert off(found[1][0], exact) < min(2e-3, off(found[0][0], exact) / 5)


@torch.no_grad()
def test_integrating_back_returns_the_input() -> None:
    built, (state, e) = block(), question()
    tight = Integration("dopri5", tolerance=1e-9)
    end, _ = built(state, e, tight)
    derivative, _ = built.system(e)
    back, _ = tight(lambda tau, y: -derivative(1 - tau, y), end)
    assert off(back, state) < 1e-7


@torch.no_grad()
def test_rows_are_alone_under_fixed_steps_and_together_under_an_adaptive_solver() -> None:
    """One step size for the batch: a row that is hard to solve makes its mates' steps smaller."""
    built, (state, e) = block(), question(3)
    e[2] *= 40
    fixed, adaptive = Integration("rk4", 2), Integration("dopri5", tolerance=1e-3)
    assert off(built(state, e, fixed)[0][:1], built(state[:1], e[:1], fixed)[0]) < 1e-14
    together, alone = built(state, e, adaptive), built(state[:1], e[:1], adaptive)
    assert off(together[0][:1], alone[0]) > 1e-12
    assert together[1] > alone[1]


@torch.no_grad()
def test_a_solver_that_gets_stuck_says_so() -> None:
    """At a force that is not finite, and at more jumps than it may take steps."""
    state = torch.ones(1, 2, 1, 1)
    jumps = second_order(lambda tau, y: 1e4 * torch.sign(torch.sin(1e4 * tau)) + 0 * y[:, :1])
    for force in (second_order(lambda tau, y: y[:, :1] / 0), jumps):
        with pytest.raises(ArithmeticError, match=r"dopri5 got stuck .* larger tolerance"):
            Integration("dopri5", tolerance=1e-9)(force, state)


def test_what_has_no_effect_is_refused() -> None:
    with pytest.raises(ValueError, match=r'tolerance is 0.001, but ode_solver "rk4" takes fixed steps'):
        Integration("rk4", tolerance=1e-3)
    with pytest.raises(ValueError, match='"dopri5" adapts its steps, but found no tolerance'):
        Integration("dopri5")
    with pytest.raises(ValueError, match='ode_steps is 4, but ode_solver "bosh3" chooses its own'):
        Integration("bosh3", 4, 1e-3)


def test_under_autocast_the_state_keeps_its_precision() -> None:
    state, e = question()
    for adjoint in (False, True):
        built = block(adjoint=adjoint).float()
        exact, _ = built(state.float(), e.float(), Integration("rk4"))
        with torch.autocast("cpu", torch.bfloat16):
            end, _ = built(state.bfloat16(), e.float(), Integration("rk4"))
        end.sum().backward()
        assert end.dtype == torch.float32
        assert off(end, exact) < 1e-2
        assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())


@torch.no_grad()
def test_initial_velocity_is_a_function_of_the_lifted_image() -> None:
    torch.manual_seed(0)
    start, images = InitialState(3, 2 * C, 4).double(), torch.randn(2, 3, 8, 8).double()
    z, v = start(images).chunk(2, dim=1)
    assert torch.equal(z, start.lift(images))
    h = silu(start.conv1(start.norm1(z)))
    torch.testing.assert_close(v, silu(start.conv2(start.norm2(h))))


@torch.no_grad()
@pytest.mark.parametrize("residual", [True, False])
def test_attention_is_the_formula(residual: bool) -> None:
    torch.manual_seed(0)
    layer, state = SelfAttention(12, 2, 5, residual).double(), torch.randn(2, 12, 4, 4).double()
    layer.norm.weight.copy_(torch.rand(12) + 0.5)
    pixels = state.flatten(2).transpose(1, 2)
    normed = pixels / pixels.square().mean(2, keepdim=True).sqrt() * layer.norm.weight
    q, k, v = (layer.qkv(normed)[..., i * 10 : i * 10 + 10] for i in range(3))
    heads = []
    for j in (slice(0, 5), slice(5, 10)):
        weights = softmax(q[..., j] @ k[..., j].transpose(1, 2) / math.sqrt(5), dim=2)
        heads.append(weights @ v[..., j])
    read = layer.out(torch.cat(heads, dim=2)).transpose(1, 2).reshape(state.shape)
    torch.testing.assert_close(layer(state), state + read if residual else read)
