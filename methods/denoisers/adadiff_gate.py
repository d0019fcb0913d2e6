"""AdaDiff's two built denoisers: rows exit where a gate decides, or all at a table's depth of the step.

Tang et al. 2024 (arXiv:2309.17074).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from methods.denoisers.adadiff_uncertainty import Uncertainty
from methods.networks.blocks import BlockNetwork
from methods.networks.preconditioning import RawNetwork
from methods.parts import BuiltDenoiser, Units


class NetworkWithHeads(nn.Module):
    """A network and the heads on its blocks, tuned together."""

    def __init__(self, network: BlockNetwork, heads: Uncertainty) -> None:
        super().__init__()
        self.network = network
        self.heads = heads

    def leave_at(self, depth: int, heads_run: Callable[[int], bool]) -> RawNetwork:
        """Return a raw network whose rows all exit after `depth` blocks.

        The heads of blocks for which `heads_run` (block counted from 1) is true run too, as a gate
        would run them.
        """
        network = self.network

        def run(scaled: Tensor, label: Tensor) -> Tensor:
            h, condition = network.embed(scaled, label, network.classes_of(len(scaled)))
            saved: list[Tensor] = []
            for i in range(depth):
                source = network.reads(i)
                h = network.block(i, h, condition, None if source is None else saved[source])
                saved.append(h)
                if i < network.n_blocks - 1 and heads_run(i + 1):
                    self.heads.mean(i, network.patch_tokens(h), label)
            return network.head(h, condition)

        return run


class MeanDepth(BuiltDenoiser):
    """All rows exit at the depth of the step; depths [steps] count blocks from 1."""

    by_step = True

    def __init__(self, tuned: NetworkWithHeads, depths: Sequence[int]) -> None:
        network, self._depths = tuned.network, list(depths)
        self._calls = {
            depth: partial(network.denoised, tuned.leave_at(depth, lambda block: False))
            for depth in sorted(set(depths))
        }

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        depth = self._depths[step]
        return self._calls[depth](x, sigma), {f"exit-{depth}": 1}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {f"exit-{depth}": call for depth, call in self._calls.items()}


class Gated(BuiltDenoiser):
    """Each row exits once its own uncertainty is below theta.

    Or, per batch, all rows once their mean is.
    """

    def __init__(self, tuned: NetworkWithHeads, params: Any, tested: Callable[[int], bool]) -> None:
        """`params` are AdaDiff's; `tested` is whether a row may exit after a block, counted from 1."""
        self._tuned = tuned
        self._network, self._heads = tuned.network, tuned.heads
        self._params, self._tested = params, tested

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        depths: list[Tensor] = []

        def run(scaled: Tensor, label: Tensor) -> Tensor:
            image, depth = self._run(scaled, label, self._network.classes_of(len(scaled)))
            depths.append(depth)
            return image

        denoised = self._network.denoised(run, x, sigma)
        n = self._network.n_blocks
        return denoised, {f"exit-{d}": sum((depth == d).long() for depth in depths) for d in range(1, n + 1)}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        """Return one pass per exit."""
        calls = {depth: self._tuned.leave_at(depth, self._tested) for depth in range(1, self._network.n_blocks + 1)}
        return {f"exit-{depth}": partial(self._network.denoised, call) for depth, call in calls.items()}

    def _run(self, scaled: Tensor, label: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the raw output and the depth at which each row exits, int64 [rows]."""
        network = self._network
        h, condition = network.embed(scaled, label, classes)
        out = torch.empty_like(h)
        rows = torch.arange(len(h), device=h.device)  # those still running, in ascending order
        depth = torch.full_like(rows, network.n_blocks)
        read = {network.reads(i) for i in range(network.n_blocks)}
        saved: dict[int, tuple[Tensor, Tensor]] = {}

        for i in range(network.n_blocks):
            # run the block on the rows still running
            skip = self._skip(i, saved, rows)
            here = None if condition is None else (condition if len(rows) == len(out) else condition[rows])
            h = network.block(i, h, here, skip)
            if i in read:
                saved[i] = h, rows
            if i == network.n_blocks - 1 or not self._tested(i + 1):
                continue

            # test them (section 3.2)
            uncertain = self._heads.mean(i, network.patch_tokens(h), label if len(rows) == len(out) else label[rows])
            if self._params.rule == "per-batch":
                uncertain = uncertain.mean().expand_as(uncertain)
            stay = uncertain >= self._params.theta
            staying = int(stay.sum())  # the one wait for the device

            # take out those that exit
            if staying < len(rows):
                order = stay.argsort(descending=True, stable=True)
                keep, leave = order[:staying], order[staying:]
                out[rows[leave]] = h[leave].to(out.dtype)  # under autocast blocks return a shorter format
                depth[rows[leave]] = i + 1
                h, rows = h[keep], rows[keep]
            if staying == 0:
                break

        # one call of the shared head, for rows of all depths
        out[rows] = h.to(out.dtype)
        return network.head(out, condition), depth

    def _skip(self, i: int, saved: dict[int, tuple[Tensor, Tensor]], rows: Tensor) -> Tensor | None:
        """Return the earlier output that block i reads, for the rows still running.

        Gathered once, on use.
        """
        source = self._network.reads(i)
        if source is None:
            return None
        tokens, then = saved.pop(source)
        return tokens if len(then) == len(rows) else tokens[torch.searchsorted(then, rows)]
