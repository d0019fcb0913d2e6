"""Family "continuous-unet": The Missing U (Calvo-Ordonez et al. 2024, arXiv:2310.20092), a U-Net of neural ODEs.

Every level has one block on the down path and one on the up path, each a second-order ODE
(methods/networks/ode_blocks). Between them lie 1x1 convolutions, pooling and bilinear
interpolation; skips are whole states. The wiring is that of the first author's code. Where code
and paper differ, the default profile "paper" follows the paper, and "authors" reproduces the
published counts. Differences from both: SiLU, group norms, and a position lifted from the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, silu, softplus

from methods.networks.authors_cunet import AuthorsBlock, AuthorsState, UnreadTime
from methods.networks.base import DataShape, NetworkParams
from methods.networks.ode_blocks import (
    InitialState,
    Integrate,
    Integration,
    OdeSolver,
    SecondOrderBlock,
    SelfAttention,
    Tolerance,
)
from methods.networks.preconditioned import PreconditionedNetwork, PreconditionedParams
from methods.networks.transformer import sinusoids

Positive = Annotated[int, Field(ge=1)]
_OF_THE_PAPER = ("gradient", "norm_groups", "tau_input", "zero_init")


class ContinuousUNetParams(PreconditionedParams):
    """Size of a continuous U-Net and how its blocks are solved; `channels` count position and velocity together."""

    profile: Literal["paper", "authors"] = "paper"
    """authors: the first author's code as published, of first order and without noise level.

    For its counts.
    """
    channels: tuple[Annotated[int, Field(ge=2)], ...] = Field(min_length=1)
    """Channels of a whole state, one entry per resolution, each even."""
    ode_solver: OdeSolver = "rk4"
    """torchdiffeq's name; its rk4 is the 3/8 rule."""
    ode_steps: Positive = 1
    """Equal steps of a fixed-step solver through a block."""
    tolerance: Tolerance | None = None
    """Error that an adaptive solver allows a step, absolute and relative.

    The authors' value is 1e-3.
    """
    gradient: Literal["direct", "adjoint"] = "direct"
    """adjoint: the adjoint ODE, in constant memory.

    Exact in the limit of small steps, some per cent off at one.
    """
    norm_groups: Positive = 8
    attention_levels: tuple[int, ...] = ()
    """Levels (0 is the full resolution) whose blocks are followed by self-attention."""
    heads: Positive = 4
    head_channels: Positive = 32
    time_channels: Annotated[int, Field(ge=2, multiple_of=2)] = 256
    """Width of the noise level's embedding."""
    tau_input: bool = False
    """Whether each convolution of f has tau as a constant input channel."""
    zero_init: bool = True
    """Initialises every f with zero, so that an untrained block drifts: z(1) = z(0) + v(0)."""

    @property
    def integration(self) -> Integration:
        """Return how the blocks are solved in training, and in sampling unless a denoiser overrides it."""
        return Integration(self.ode_solver, self.ode_steps, self.tolerance)

    @property
    def fixed_cost(self) -> bool:
        """Return whether a call costs the same for every input.

        With an adaptive solver it does not.
        """
        return self.integration.fixed_cost

    @model_validator(mode="after")
    def _fits(self) -> ContinuousUNetParams:
        # channels
        odd = [c for c in self.channels if c % 2]
        if odd:
            raise ValueError(f"channels {odd} are odd; expected even numbers, half of them position, half velocity")
        wrong = [c for c in self.channels if c // 2 % self.norm_groups]
        if wrong and self.profile == "paper":
            raise ValueError(f"channels {wrong} have halves that are no multiples of norm_groups = {self.norm_groups}")

        # levels
        levels = [level for level in self.attention_levels if not 0 <= level < len(self.channels)]
        if levels:
            raise ValueError(f"attention_levels {levels} do not exist; there are levels 0 to {len(self.channels) - 1}")

        # the authors' profile, and the solver
        if self.profile == "authors":
            changed = [name for name in _OF_THE_PAPER if getattr(self, name) != type(self).model_fields[name].default]
            if changed:
                raise ValueError(f'profile "authors" has no {" and no ".join(changed)}; leave that out')
        _ = self.integration  # raises where its parameters do not fit
        return self


class ContinuousUNet(PreconditionedNetwork):
    """Blocks down1, down2, ..., bottom, up1, up2, ...; up1 is next to the bottom."""

    family: ClassVar[str] = "continuous-unet"
    summary: ClassVar[str] = "U-Net of second-order neural ODEs: The Missing U (Calvo-Ordonez 2024), EDM or VP"
    method_family: ClassVar[str] = "Missing U"
    claim: ClassVar[str] = (
        "The paper reports about a quarter of the parameters and about 30 % of the FLOPs of the U-Net of DDPM, and "
        "fewer steps to a given quality."
    )
    Params: ClassVar[type[NetworkParams]] = ContinuousUNetParams
    params: ContinuousUNetParams

    def __init__(self, params: ContinuousUNetParams, data: DataShape) -> None:
        super().__init__(params, data)
        channels, last = params.channels, len(params.channels) - 1
        if data.resolution % 2**last:
            raise ValueError(f"resolution {data.resolution} is not divisible by {2**last}, which this U-Net needs")
        if params.profile == "authors" and data.resolution == 2**last:
            raise ValueError(f"resolution {data.resolution} leaves one pixel below, which an instance norm refuses")

        # levels by the name of their blocks
        self.levels = {**{f"down{i + 1}": i for i in range(last)}, "bottom": last}
        self.levels.update({f"up{i + 1}": last - 1 - i for i in range(last)})

        # blocks and attention
        self.time, self.start, block = _parts(params, data)
        attend = partial(SelfAttention, heads=params.heads, head_channels=params.head_channels)
        self.blocks = nn.ModuleDict({name: block(channels[level]) for name, level in self.levels.items()})
        self.attention = nn.ModuleDict(
            {
                name: attend(channels[level], residual=params.profile == "paper")
                for name, level in self.levels.items()
                if level in params.attention_levels
            }
        )

        # convolutions between levels
        self.down = nn.ModuleList(nn.Conv2d(channels[i], channels[i + 1], 1) for i in range(last))
        self.up = nn.ModuleList(nn.Conv2d(channels[i + 1] + channels[i], channels[i], 1) for i in reversed(range(last)))
        self.out = nn.Conv2d(channels[0], data.channels, 1)
        self.activation = silu if params.profile == "paper" else softplus

    def raw(self, scaled: Tensor, label: Tensor) -> Tensor:
        return self.raw_counted(scaled, label)[0]

    def raw_counted(
        self, scaled: Tensor, label: Tensor, integrate: Integrate | None = None
    ) -> tuple[Tensor, Mapping[str, int]]:
        """Return F of a scaled input, and the evaluations of each block's f by the block's name.

        `integrate` replaces the solver of the parameters. The counts hold for the whole batch: an
        adaptive solver takes one step size for all of it.
        """
        integrate = integrate or self.params.integration
        embedding = self.time(self.params.time_scale * label)
        counts: dict[str, int] = {}

        def through(name: str, state: Tensor) -> Tensor:
            state, counts[name] = self.blocks[name](state, embedding, integrate)
            return self.attention[name](state) if name in self.attention else state

        # down
        state, skips = self.start(scaled), []
        for i, narrow in enumerate(self.down):
            skips.append(through(f"down{i + 1}", state))
            state = avg_pool2d(self.activation(narrow(skips[-1])), 2)  # bilinear x0.5 is the mean of two by two
        state = through("bottom", state)

        # up
        for i, widen in enumerate(self.up):
            state = interpolate(state, scale_factor=2, mode="bilinear")
            state = through(f"up{i + 1}", self.activation(widen(torch.cat([state, skips.pop()], dim=1))))

        return self.out(state), counts

    def evaluate(self, name: str, images: Tensor) -> Tensor:
        """Return f of one block, evaluated once on a zero state of these images' shape there.

        For FLOP counts.
        """
        level = self.levels[name]
        block = self.blocks[name]
        assert isinstance(block, (SecondOrderBlock, AuthorsBlock))
        size = (side >> level for side in images.shape[2:])
        return block.evaluate(images.new_zeros(len(images), self.params.channels[level], *size, dtype=self.dtype))


class _Time(nn.Module):
    """Embedding of the noise label: two linear layers on sinusoids, the input of each block's linear layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.linear1 = nn.Linear(channels, channels)
        self.linear2 = nn.Linear(channels, channels)

    def forward(self, label: Tensor) -> Tensor:
        """Return [batch, channels] of labels [batch]."""
        return silu(self.linear2(silu(self.linear1(sinusoids(label, self.channels)))))


def _parts(
    params: ContinuousUNetParams, data: DataShape
) -> tuple[nn.Module, nn.Module, partial[SecondOrderBlock] | type[AuthorsBlock]]:
    """Return a profile's time embedding, its initial state, and its constructor of blocks by channels."""
    if params.profile == "authors":
        return UnreadTime(params.time_channels), AuthorsState(data.channels, params.channels[0]), AuthorsBlock
    block = partial(
        SecondOrderBlock,
        time_channels=params.time_channels,
        groups=params.norm_groups,
        tau_input=params.tau_input,
        zero_init=params.zero_init,
        adjoint=params.gradient == "adjoint",
    )
    return _Time(params.time_channels), InitialState(data.channels, params.channels[0], params.norm_groups), block
