"""The interface of U-ViT and DiT: blocks of one width that run one by one, some of them optional.

There are two ways to leave blocks out. `raw(..., depth=k)` runs k of the optional blocks, a number
known before the call; early exit by time uses it. `embed`, `block` and `head` run the network
block by block, for a method that decides during the call, such as AdaDiff.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from methods.networks.base import DataShape
from methods.networks.preconditioned import PreconditionedNetwork, PreconditionedParams


class BlockParams(PreconditionedParams):
    """Size of a transformer, and the classes of a conditional one."""

    depth: int = Field(ge=2)
    width: int = Field(ge=4)
    heads: int = Field(ge=1)
    patch: int = Field(ge=1)
    mlp_ratio: float = Field(default=4.0, gt=0)
    classes: int = Field(default=0, ge=0)
    """Classes of a conditional network; 0 is unconditional."""
    null_class: bool = True
    """Whether a conditional network has one more embedding for no class."""
    guided_channels: int | None = Field(default=None, ge=1)
    """How many channels its authors guide, from the first; the others are those with the class.

    All if not given.
    """

    @property
    def class_count(self) -> int:
        """Return the number of classes."""
        return self.classes

    @property
    def has_null_class(self) -> bool:
        """Return whether it can be called for no class."""
        return self.classes > 0 and self.null_class

    @property
    def usual_guided_channels(self) -> int | None:
        """Return how many channels its authors guide."""
        return self.guided_channels

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
            classes = self.classes_of(len(scaled))
            return self.truncated(scaled, label, classes, self._kept(depth, len(scaled)))

        # a depth per row: order them, deepest first
        self._check(int(depth.min()), int(depth.max()))
        order = depth.argsort(descending=True, stable=True)
        there, back = (index.to(scaled.device, non_blocking=True) for index in (order, order.argsort()))
        kept = [int((depth >= d).sum()) for d in self.exits[1:]]

        classes = self.classes_of(len(scaled))
        ordered = None if classes is None else classes[there]
        return self.truncated(scaled[there], label[there], ordered, kept)[back]

    def classes_of(self, rows: int) -> Tensor | None:
        """Return the class of each row of this call, int64 [rows]; None for an unconditional network.

        Rows without a class have the one that stands for none. Raises ValueError where the network
        has no such class, and for classes of another number of rows.
        """
        p, given = self.params, self.row_classes
        if p.classes == 0:
            return None
        if given is None:
            if not p.null_class:
                raise ValueError(f"a network without null_class is called for no class; give one of its {p.classes}")
            return torch.full((rows,), p.classes, dtype=torch.int64, device=next(self.parameters()).device)
        if len(given) != rows:
            raise ValueError(f"{len(given)} classes are given for {rows} rows; expected one for each")
        return given

    def _kept(self, depth: int, rows: int) -> list[int]:
        return [rows if d <= depth else 0 for d in self.exits[1:]]

    def _check(self, least: int, most: int) -> None:
        if least < self.exits[0] or most > self.exits[-1]:
            raise ValueError(
                f"depths from {least} to {most}; this network accepts {self.exits[0]} to {self.exits[-1]} blocks"
            )
