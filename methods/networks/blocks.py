"""The interface of U-ViT and DiT: blocks of one width that run one by one, some of them optional.

There are two ways to leave blocks out. `raw(..., depth=k)` runs k of the optional blocks, a number
known before the call; early exit by time uses it. `embed`, `block` and `head` run the network
block by block, for a method that decides during the call, such as AdaDiff.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from methods.networks.base import DataShape
from methods.networks.preconditioned import PreconditionedNetwork, PreconditionedParams

Run = Callable[[Tensor, Tensor, "Tensor | None"], Tensor]
"""A raw network with a class: (scaled input, noise label [rows], class [rows] or None) to an image."""


class BlockParams(PreconditionedParams):
    """Size of a transformer, and the class and guidance of a conditional one."""

    depth: int = Field(ge=2)
    width: int = Field(ge=4)
    heads: int = Field(ge=1)
    patch: int = Field(ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)
    classes: int = Field(default=0, ge=0)
    """Classes of a conditional network; 0 is unconditional."""
    null_class: bool = True
    """Whether a conditional network has one more embedding for no class."""
    label: int | None = Field(default=None, ge=0)
    """The class of every image, counted from 0; without it a conditional network gets no class."""
    guidance: float = Field(default=1.0, ge=0)
    """Scale s of classifier-free guidance, F(no class) + s (F(class) - F(no class)).

    Two passes unless s is 1.
    """
    guided_channels: int | None = Field(default=None, ge=1)
    """How many channels are guided, from the first; the others are those with the class.

    All if not given.
    """

    @property
    def embeddings(self) -> int:
        """Return the rows of a conditional network's table of classes.

        With `null_class` the last is for none.
        """
        return self.classes + self.null_class

    @property
    @abstractmethod
    def exits(self) -> range:
        """Return the depths that `raw` accepts, in optional blocks that run.

        The last is all of them.
        """

    @model_validator(mode="after")
    def _fits(self) -> BlockParams:
        if self.width % (2 * self.heads):
            raise ValueError(f"width is {self.width}; expected a multiple of {2 * self.heads}, twice the heads")
        if self.label is not None and self.label >= self.classes:
            raise ValueError(f"label is {self.label}; expected a class below classes = {self.classes}")

        # label and guidance
        needs_label = self.classes > 0 and not self.null_class
        if needs_label and self.label is None:
            raise ValueError(f"label is missing; a network without null_class needs a class below {self.classes}")
        if needs_label and self.guidance != 1:
            raise ValueError(f"guidance is {self.guidance}; a network without null_class cannot be guided, expected 1")
        if self.guidance != 1 and self.label is None:
            raise ValueError(f"guidance is {self.guidance} without a label; give the class to guide towards")
        return self


class BlockNetwork(PreconditionedNetwork):
    """A transformer of `n_blocks` blocks numbered from 0."""

    params: BlockParams
    fixed: ClassVar[tuple[str, ...]] = ()
    """Names of parameters that are never trained."""

    def __init__(self, params: BlockParams, data: DataShape) -> None:
        super().__init__(params, data)
        self.exits = params.exits
        if data.resolution % params.patch:
            raise ValueError(f"resolution {data.resolution} is not divisible by patch = {params.patch}")

    @property
    @abstractmethod
    def n_blocks(self) -> int:
        """Return the number of blocks, N."""

    @abstractmethod
    def embed(self, scaled: Tensor, label: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return tokens h_0 [rows, tokens, width], and the blocks' condition [rows, width] or None."""

    @abstractmethod
    def block(self, i: int, h: Tensor, condition: Tensor | None, skip: Tensor | None) -> Tensor:
        """Return h_{i+1} from h_i; `skip` is h after block `reads(i)`."""

    def reads(self, i: int) -> int | None:
        """Return the earlier block whose output block i reads, or None."""
        return None

    @abstractmethod
    def head(self, h: Tensor, condition: Tensor | None) -> Tensor:
        """Return the raw output [rows, channels, height, width] from tokens of any depth."""

    @abstractmethod
    def patch_tokens(self, h: Tensor) -> Tensor:
        """Return the tokens of patches [rows, n, width], without those of time and class."""

    @abstractmethod
    def truncated(self, scaled: Tensor, label: Tensor, classes: Tensor | None, kept: Sequence[int]) -> Tensor:
        """Return the raw output.

        The j-th optional block runs on the first `kept[j]` rows, a falling list.

        `kept[j]` is the number of rows of depth `exits[0] + 1 + j` and more.
        """

    def raw(self, scaled: Tensor, label: Tensor, depth: int | Tensor | None = None) -> Tensor:
        """Return the raw output with `depth` of the optional blocks, one number or one per row.

        Default all.

        Depths of rows are integers [rows] on the host. Rows are ordered by depth, so each block
        runs once, on the leading rows alone. Raises ValueError for a depth that is no exit.
        """
        # one depth for all rows
        depth = self.exits[-1] if depth is None else depth
        if isinstance(depth, int):
            self._check(depth, depth)
            return self.guided(lambda x, t, c: self.truncated(x, t, c, self._kept(depth, len(x))), scaled, label)

        # a depth per row: order them, deepest first
        self._check(int(depth.min()), int(depth.max()))
        order = depth.argsort(descending=True, stable=True)
        there, back = (index.to(scaled.device, non_blocking=True) for index in (order, order.argsort()))
        kept = [int((depth >= d).sum()) for d in self.exits[1:]]

        def run(x: Tensor, t: Tensor, c: Tensor | None) -> Tensor:
            if len(x) == len(depth):
                return self.truncated(x[there], t[there], None if c is None else c[there], kept)[back]
            halves = zip(x.chunk(2), t.chunk(2), (None, None) if c is None else c.chunk(2), strict=True)
            return torch.cat([run(*half) for half in halves])  # both halves of a guided call share their depths

        return self.guided(run, scaled, label)

    def guided(self, run: Run, scaled: Tensor, label: Tensor) -> Tensor:
        """Return the output of `run` for the parameters' class, with their guidance.

        Scale s of two passes is F(no class) + s (F(class) - F(no class)) (Ho & Salimans 2022,
        arXiv:2207.12598).
        """
        # without guidance
        p = self.params
        if p.classes == 0:
            return run(scaled, label, None)
        nothing = label.new_full((len(scaled),), p.classes, dtype=torch.long)
        if p.label is None:
            return run(scaled, label, nothing)
        wanted = torch.full_like(nothing, p.label)
        if p.guidance == 1:
            return run(scaled, label, wanted)

        # with guidance: both halves in one call
        twice = run(torch.cat([scaled, scaled]), torch.cat([label, label]), torch.cat([wanted, nothing]))
        with_class, without = twice.chunk(2)
        n = p.guided_channels or with_class.shape[1]
        guided = without[:, :n] + p.guidance * (with_class[:, :n] - without[:, :n])
        return torch.cat([guided, with_class[:, n:]], dim=1)

    def _kept(self, depth: int, rows: int) -> list[int]:
        return [rows if d <= depth else 0 for d in self.exits[1:]]

    def _check(self, least: int, most: int) -> None:
        if least < self.exits[0] or most > self.exits[-1]:
            raise ValueError(
                f"depths from {least} to {most}; this network accepts {self.exits[0]} to {self.exits[-1]} blocks"
            )
