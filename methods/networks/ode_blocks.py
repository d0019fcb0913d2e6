"""Blocks that are second-order neural ODEs: z'' = f(z, z', e) on tau in [0, 1], solved by torchdiffeq.

Calvo-Ordonez et al. 2024, "The Missing U for Efficient Diffusion Models" (arXiv:2310.20092),
figure 2. The initial velocity is that of Cheng et al. 2024, "Continuous U-Net" (arXiv:2302.00626).
A state [batch, 2c, height, width] holds position z and velocity v along the channels, whose number
must be even. "rk4" is torchdiffeq's, the 3/8 rule. An adaptive solver takes one step size for a
whole batch, so its rows depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import AfterValidator
from torch import Tensor, nn
from torch.nn.functional import silu

FixedStep = Literal["euler", "midpoint", "heun2", "heun3", "rk4"]
Adaptive = Literal["adaptive_heun", "fehlberg2", "bosh3", "dopri5", "dopri8"]
OdeSolver = Literal[FixedStep, Adaptive]
Derivative = Callable[[Tensor, Tensor], Tensor]
"""(tau [], state [batch, 2c, height, width]) to the state's derivative in tau."""
Integrate = Callable[[Derivative, Tensor, Sequence[Tensor] | None], tuple[Tensor, int]]
"""(derivative, state at 0, tensors that the adjoint learns or None) to the state at 1 and evaluations of f."""

_MOST_STEPS = 1000  # of an adaptive solver, for one block; the authors' limit


def _above_zero(tolerance: float) -> float:
    if not 0 < tolerance < math.inf:
        raise ValueError(
            "an ODE tolerance is the error allowed to a step; expected a finite number above 0: "
            "take for instance 1e-3, or a fixed-step ode_solver, which needs no tolerance"
        )
    return tolerance


Tolerance = Annotated[float, AfterValidator(_above_zero)]


def takes_fixed_steps(solver: OdeSolver) -> bool:
    """Return whether a solver's steps are independent of the state."""
    return solver in get_args(FixedStep)


@dataclass(frozen=True)
class Integration:
    """How a block is integrated: equal steps of a fixed-step solver, or an adaptive one's tolerance.

    Raises ValueError, in one sentence, for an adaptive solver without tolerance and for a number
    without effect.
    """

    solver: OdeSolver
    steps: int = 1
    tolerance: float | None = None
    """Absolute and relative error allowed per step, as a root mean square over the whole batch."""

    def __post_init__(self) -> None:
        if self.fixed_cost and self.tolerance is not None:
            raise ValueError(
                f'tolerance is {self.tolerance:g}, but ode_solver "{self.solver}" takes fixed steps and would ignore '
                "it; leave tolerance out, or take an adaptive ode_solver such as dopri5"
            )
        if not self.fixed_cost and self.tolerance is None:
            raise ValueError(
                f'ode_solver "{self.solver}" adapts its steps, but found no tolerance; expected a number above 0: '
                "give for instance tolerance = 1e-3"
            )
        if not self.fixed_cost and self.steps != 1:
            raise ValueError(
                f'ode_steps is {self.steps}, but ode_solver "{self.solver}" chooses its own steps; '
                "leave ode_steps out, or take a fixed-step ode_solver such as rk4"
            )

    @property
    def fixed_cost(self) -> bool:
        """Return whether the number of evaluations is known in advance."""
        return takes_fixed_steps(self.solver)

    def __call__(
        self, derivative: Derivative, state: Tensor, learned: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, int]:
        """Return the state at tau = 1 and the evaluations of the derivative.

        With `learned`, gradients come from the adjoint ODE (Chen et al. 2018, arXiv:1806.07366),
        in constant memory. They reach only these tensors and the state. Raises ArithmeticError
        where an adaptive solver gets stuck.
        """
        from torchdiffeq import odeint, odeint_adjoint  # here, because it brings scipy, which a plan does without

        evaluations = 0

        def counted(tau: Tensor, y: Tensor) -> Tensor:
            nonlocal evaluations
            evaluations += 1
            return derivative(tau, y)

        # steps or tolerance
        ends = torch.linspace(0, 1, 2, dtype=state.dtype, device=state.device)
        how: dict[str, Any] = {"method": self.solver, "options": {"grid_constructor": self._grid}}
        if self.tolerance is not None:
            how.update(rtol=self.tolerance, atol=self.tolerance, options={"max_num_steps": _MOST_STEPS})

        try:
            if learned is not None and torch.is_grad_enabled():
                path = odeint_adjoint(counted, state, ends, adjoint_params=tuple(learned), **how)
            else:
                path = odeint(counted, state, ends, **how)
        except AssertionError as error:
            raise ArithmeticError(
                f"ode_solver {self.solver} got stuck ({str(error)[:80]}); take a larger tolerance or fixed steps"
            ) from error
        return path[-1], evaluations

    def _grid(self, derivative: Derivative, state: Tensor, ends: Tensor) -> Tensor:
        """Return equal steps between the ends [2], [steps + 1].

        The adjoint calls it with reversed ends.
        """
        if self.steps == 1:
            return ends
        return torch.linspace(float(ends[0]), float(ends[-1]), self.steps + 1, dtype=ends.dtype, device=ends.device)


def second_order(acceleration: Derivative) -> Derivative:
    """Return the first-order system z' = v, v' = acceleration(tau, [z; v]) for a state [z; v]."""

    def derivative(tau: Tensor, state: Tensor) -> Tensor:
        return torch.cat([state.chunk(2, dim=1)[1], acceleration(tau, state)], dim=1)

    return derivative


class Acceleration(nn.Module):
    """The function f of a block: two 3x3 convolutions after group norms.

    Time scales and shifts the second.
    """

    def __init__(self, half: int, groups: int, tau_input: bool, zero_init: bool) -> None:
        super().__init__()
        self.width = half
        self.tau_input = tau_input
        self.norm1 = nn.GroupNorm(groups, 2 * half)
        self.conv1 = nn.Conv2d(2 * half + tau_input, half, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, half)
        self.conv2 = nn.Conv2d(half + tau_input, half, 3, padding=1)
        if zero_init:
            nn.init.zeros_(self.conv2.weight)
            nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, tau: Tensor, state: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Return z'' [batch, c, height, width] of a state [batch, 2c, ...].

        Scale and shift are [batch, c, 1, 1].
        """
        h = self.conv1(self._at(tau, silu(self.norm1(state))))
        return self.conv2(self._at(tau, silu(self.norm2(h) * scale + shift)))

    def _at(self, tau: Tensor, h: Tensor) -> Tensor:
        """Return h, with a channel of the constant tau if `tau_input`."""
        return torch.cat([h, tau.to(h.dtype).expand(len(h), 1, *h.shape[2:])], dim=1) if self.tau_input else h


class SecondOrderBlock(nn.Module):
    """One f for the whole interval; the noise level's scale and shift are computed once, in advance."""

    def __init__(
        self, channels: int, time_channels: int, groups: int, tau_input: bool, zero_init: bool, adjoint: bool
    ) -> None:
        super().__init__()
        half = channels // 2
        self.adjoint = adjoint
        self.acceleration = Acceleration(half, groups, tau_input, zero_init)
        self.scale_and_shift = nn.Linear(time_channels, 2 * half)

    def forward(self, state: Tensor, embedding: Tensor, integrate: Integrate) -> tuple[Tensor, int]:
        """Return the state at tau = 1 and the evaluations of f, from the state at 0 and an embedding [batch, d]."""
        derivative, learned = self.system(embedding)
        if torch.is_autocast_enabled(state.device.type):
            state = state.float()  # f rounds, but its sum over the steps does not
        return integrate(derivative, state, learned if self.adjoint else None)

    def system(self, embedding: Tensor) -> tuple[Derivative, tuple[Tensor, ...]]:
        """Return the state's derivative at a noise level, and all tensors that get gradients."""
        gain, shift = self.scale_and_shift(embedding)[:, :, None, None].chunk(2, dim=1)
        scale = 1 + gain

        def acceleration(tau: Tensor, state: Tensor) -> Tensor:
            return self.acceleration(tau, state, scale, shift)

        return second_order(acceleration), (*self.acceleration.parameters(), scale, shift)

    def evaluate(self, state: Tensor) -> Tensor:
        """Return f of a state, unscaled and unshifted; for the FLOPs of one evaluation."""
        one = state.new_ones(len(state), self.acceleration.width, 1, 1)
        return self.acceleration(state.new_zeros(()), state, one, torch.zeros_like(one))


class InitialState(nn.Module):
    """The initial state, position z and velocity v, of an image.

    z is a 3x3 convolution of it, v = g(z) has two convolutions after group norms.
    """

    def __init__(self, image_channels: int, channels: int, groups: int) -> None:
        super().__init__()
        half = channels // 2
        self.lift = nn.Conv2d(image_channels, half, 3, padding=1)
        self.norm1 = nn.GroupNorm(groups, half)
        self.conv1 = nn.Conv2d(half, half, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, half)
        self.conv2 = nn.Conv2d(half, half, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return states [batch, channels, height, width] of images [batch, image_channels, height, width]."""
        z = self.lift(images)
        v = silu(self.conv2(self.norm2(silu(self.conv1(self.norm1(z))))))
        return torch.cat([z, v], dim=1)


class SelfAttention(nn.Module):
    """Self-attention between pixels after an RMS norm, with a residual, or without as in the authors' code."""

    def __init__(self, channels: int, heads: int, head_channels: int, residual: bool) -> None:
        super().__init__()
        self.heads = heads
        self.residual = residual
        self.norm = nn.RMSNorm(channels)
        self.qkv = nn.Linear(channels, 3 * heads * head_channels, bias=False)
        self.out = nn.Linear(heads * head_channels, channels)

    def forward(self, state: Tensor) -> Tensor:
        """Return a state of the same shape [batch, channels, height, width]."""
        pixels = self.norm(state.flatten(2).transpose(1, 2))
        q, k, v = self.qkv(pixels).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        read = read.transpose(1, 2).unflatten(2, state.shape[2:])
        return state + read if self.residual else read
