"""Parareal's arithmetic: how a grid is cut into blocks, what a run evaluates, and its longest chain of dependent work.

Notation of Selvam, Merchant, Ermon 2024 (SRDS): N fine steps in B blocks of S; F_i solves block i finely, G_i takes
it in one coarse step; x^p_i is the state at the end of block i after p refinements; k refinements are done. Blocks
are numbered from 1, and boundary 0 is the start. Nothing here touches a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def default_blocks(steps: int) -> int:
    """Return the paper's choice, round(sqrt(N))."""
    return max(1, round(math.sqrt(steps)))


def owner(block: int, devices: int) -> int:
    """Return the rank that owns a block: cyclic, so that consecutive blocks are on different devices."""
    return (block - 1) % devices


def cut(
    steps: int, blocks: int | None = None, work: Sequence[int] | None = None, skip: bool = True, share: bool = True
) -> Cut:
    """Return a grid of `steps` cut into `blocks`, default round(sqrt(steps)), all of ceil(steps / blocks) steps.

    Where that does not come out, the last blocks are shorter. `work` is what each fine step evaluates [steps],
    default 1. ValueError if there are fewer than one or more than `steps` blocks.
    """
    blocks = default_blocks(steps) if blocks is None else blocks
    if not 1 <= blocks <= steps:
        raise ValueError(f"{steps} steps cannot be cut into {blocks} blocks; give 1 to {steps}")
    length = math.ceil(steps / blocks)
    edges = tuple(min(i * length, steps - (blocks - i)) for i in range(blocks + 1))
    return Cut(edges, tuple(work) if work is not None else (1,) * steps, skip, share)


@dataclass(frozen=True)
class Cut:
    """A grid in blocks, and what is not evaluated twice. All costs are in evaluations of one sample."""

    edges: tuple[int, ...]
    """Indices of the levels between blocks [B + 1]: block i has the fine steps edges[i - 1] to edges[i] - 1."""
    work: tuple[int, ...]
    """Evaluations of every fine step [N]."""
    skip: bool = True
    """Whether refinement p leaves out the blocks i < p, which are exact already."""
    share: bool = True
    """Whether F's first evaluation is G's, made from the same state."""

    @property
    def blocks(self) -> int:
        """Return B."""
        return len(self.edges) - 1

    def steps(self, block: int) -> range:
        """Return the fine steps of a block."""
        return range(self.edges[block - 1], self.edges[block])

    def active(self, p: int) -> range:
        """Return the blocks that refinement p solves."""
        return range(p if self.skip and p > 0 else 1, self.blocks + 1)

    def corrected(self, block: int, p: int) -> bool:
        """Return whether refinement p takes block's coarse step anew; F is exact without it for i = p."""
        return block > p or not self.skip

    def start(self, block: int) -> int:
        """Return the step where a block begins, which its coarse step evaluates."""
        return self.edges[block - 1]

    def solve(self, block: int) -> list[int]:
        """Return the steps that a block's fine solve evaluates, without the one that it shares with the coarse step."""
        return [step for step in self.steps(block) for _ in range(self.work[step])][self.share :]

    def fine(self, block: int) -> int:
        """Return how many evaluations these are."""
        return sum(self.work[step] for step in self.steps(block)) - self.share

    def total(self, k: int) -> int:
        """Return all evaluations of k refinements: the sweep 0, then fine solves and coarse steps."""
        return self.blocks + sum(self.fine(i) + self.corrected(i, p) for p in range(1, k + 1) for i in self.active(p))

    def in_turns(self, k: int) -> np.ndarray:
        """Return the longest chain by grid step [N] where every refinement ends before the next begins.

        Its sum is B + sum_p (S + B - p), less one a refinement where the first evaluation is shared; the fine solve
        that counts is the longest one, and of equal ones the first.
        """
        chain = np.zeros(len(self.work))
        for i in range(1, self.blocks + 1):
            chain[self.start(i)] += 1
        for p in range(1, k + 1):
            longest = max(self.active(p), key=self.fine)
            chain += self._solve(longest)
            chain[self.start(longest)] -= self.share
            for i in self.active(p):
                chain[self.start(i)] += self.corrected(i, p)
        return chain

    def pipelined(self, k: int) -> np.ndarray:
        """Return the longest chain by grid step [N] where everything starts as soon as its inputs are there.

        Its sum is kS + B - k, for any number of samples and enough devices.
        """
        none = np.zeros(len(self.work))
        before = [none]
        for i in range(1, self.blocks + 1):
            before.append(before[-1] + self._coarse(i))
        for p in range(1, k + 1):
            now = before[: self.active(p)[0]]
            for i in self.active(p):
                chains = [before[i - 1] + self._solve(i)]
                if self.corrected(i, p):
                    chains.append(now[i - 1] + self._coarse(i))
                now.append(max(chains, key=np.sum))
            before = now
        return before[-1]

    def _solve(self, block: int) -> np.ndarray:
        inside = np.zeros(len(self.work))
        steps = slice(self.edges[block - 1], self.edges[block])
        inside[steps] = self.work[steps]
        return inside

    def _coarse(self, block: int) -> np.ndarray:
        one = np.zeros(len(self.work))
        one[self.start(block)] = 1
        return one
