"""What U-ViT and DiT share: blocks of one width that can be run one by one, and a part of them left out.

Two ways to leave blocks out stand on this interface. `raw(..., depth=k)` runs k of the blocks that a network can do
without, a number known before the call (early exit by time). `embed`, `block`, `head` run it block by block, for a
method that decides on the way (AdaDiff).
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
"""A raw network told its class: (scaled input, noise label [rows], class [rows] or None) to an image."""


class BlockParams(PreconditionedParams):
    """Size of a transformer, and what it is asked for if it knows classes."""

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
    """The class of every image, counted from 0; without it a conditional network is asked for no class."""
    guidance: float = Field(default=1.0, ge=0)
    """Scale s of classifier-free guidance, F(no class) + s (F(class) - F(no class)); two passes unless s is 1."""
    guided_channels: int | None = Field(default=None, ge=1)
    """How many channels are guided, from the first; the others are the class's own. All if not given."""

    @property
    def embeddings(self) -> int:
        """Return the rows of a conditional network's table of classes; the last is for no class, if it has that."""
        return self.classes + self.null_class

    @property
    @abstractmethod
    def exits(self) -> range:
        """Return the depths that `raw` accepts: how many of the blocks that may be left out run. The last is all."""

    @model_validator(mode="after")
    def _fits(self) -> BlockParams:
        if self.width % (2 * self.heads):
            raise ValueError(f"width is {self.width}; expected a multiple of {2 * self.heads}, twice the heads")
        if self.label is not None and self.label >= self.classes:
            raise ValueError(f"label is {self.label}; expected a class below classes = {self.classes}")
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
        """Return tokens h_0 [rows, tokens, width] and what else conditions each block [rows, width], or None."""

    @abstractmethod
    def block(self, i: int, h: Tensor, condition: Tensor | None, skip: Tensor | None) -> Tensor:
        """Return h_{i+1} from h_i; `skip` is h after the block that `reads(i)` names."""

    def reads(self, i: int) -> int | None:
        """Return the earlier block whose output block i reads too, or None."""
        return None

    @abstractmethod
    def head(self, h: Tensor, condition: Tensor | None) -> Tensor:
        """Return the raw output [rows, channels, height, width] read off tokens of any depth."""

    @abstractmethod
    def patch_tokens(self, h: Tensor) -> Tensor:
        """Return the tokens that stand for patches [rows, n, width]: without those of time and class."""

    @abstractmethod
    def truncated(self, scaled: Tensor, label: Tensor, classes: Tensor | None, kept: Sequence[int]) -> Tensor:
        """Return the raw output; the j-th block that may be left out runs on the first `kept[j]` rows, a falling list.

        `kept[j]` counts rows for depth `exits[0] + 1 + j`.
        """

    def raw(self, scaled: Tensor, label: Tensor, depth: int | Tensor | None = None) -> Tensor:
        """Return the raw output with `depth` of the blocks that may be left out, one number or one per row.

        Depths of rows are integers [rows] on the host. Rows of different depths share the blocks that they share:
        they are ordered by depth, so block i runs on the leading rows alone.
        """
        depth = self.exits[-1] if depth is None else depth
        if isinstance(depth, int):
            self._check(depth, depth)
            return self.guided(lambda x, t, c: self.truncated(x, t, c, self._kept(depth, len(x))), scaled, label)
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
        """Return the output of `run` for the class asked for, guided if that is asked too."""
        p = self.params
        if p.classes == 0:
            return run(scaled, label, None)
        nothing = label.new_full((len(scaled),), p.classes, dtype=torch.long)
        if p.label is None:
            return run(scaled, label, nothing)
        wanted = torch.full_like(nothing, p.label)
        if p.guidance == 1:
            return run(scaled, label, wanted)
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
