"""Parareal's arithmetic: blocks of a grid, the evaluations of a run, and its longest chain of dependent ones.

Notation of Selvam, Merchant, Ermon 2024 (SRDS, arXiv:2412.08292): N fine steps in B blocks of S.
F_i solves block i finely, G_i takes it in one coarse step. x^p_i is the state at the end of block
i after p refinements, k of which are done. Blocks are numbered from 1, and boundary 0 is the
start. Nothing here touches a tensor.
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


def plan_blocks(
    steps: int, blocks: int | None = None, work: Sequence[int] | None = None, skip: bool = True, share: bool = True
) -> BlockPlan:
    """Return a plan of `steps` in `blocks`, default round(sqrt(steps)), of ceil(steps / blocks) steps each.

    Where that does not divide, the last blocks are shorter. `work` is the evaluations of each fine
    step [steps], default 1. Raises ValueError for fewer than one or more than `steps` blocks.
    """
    blocks = default_blocks(steps) if blocks is None else blocks
    if not 1 <= blocks <= steps:
        raise ValueError(f"{steps} steps cannot be cut into {blocks} blocks; give 1 to {steps}")
    length = math.ceil(steps / blocks)
    edges = tuple(min(i * length, steps - (blocks - i)) for i in range(blocks + 1))
    return BlockPlan(edges, tuple(work) if work is not None else (1,) * steps, skip, share)


@dataclass(frozen=True)
class BlockPlan:
    """A grid in blocks, and which evaluations are saved.

    All costs are in evaluations of one sample.
    """

    edges: tuple[int, ...]
    """Indices of the levels between blocks [B + 1]: block i has the fine steps edges[i - 1] to edges[i] - 1."""
    work: tuple[int, ...]
    """Evaluations of every fine step [N]."""
    skip: bool = True
    """Whether refinement p skips the blocks i < p, which are exact already."""
    share: bool = True
    """Whether F reuses G's evaluation, made at the same state, as its first."""

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
        """Return whether refinement p repeats the block's coarse step.

        For i = p F is exact without it.
        """
        return block > p or not self.skip

    def start_step(self, block: int) -> int:
        """Return the first step of a block, which its coarse step evaluates."""
        return self.edges[block - 1]

    def solve_steps(self, block: int) -> list[int]:
        """Return the steps that a block's fine solve evaluates, without the one shared with the coarse step."""
        return [step for step in self.steps(block) for _ in range(self.work[step])][self.share :]

    def fine_cost(self, block: int) -> int:
        """Return the number of evaluations of a block's fine solve, without the shared one."""
        return sum(self.work[step] for step in self.steps(block)) - self.share

    def total_cost(self, k: int) -> int:
        """Return all evaluations of k refinements: the first sweep, then fine solves and coarse steps."""
        return self.blocks + sum(
            self.fine_cost(i) + self.corrected(i, p) for p in range(1, k + 1) for i in self.active(p)
        )

    def chain_in_turns(self, k: int) -> np.ndarray:
        """Return the longest chain by grid step [N] where every refinement ends before the next begins.

        Its sum is B + sum_p (S + B - p), less one per refinement where the first evaluation is
        shared. The longest fine solve counts, and of equal ones the first.
        """
        chain = np.zeros(len(self.work))
        for i in range(1, self.blocks + 1):  # the first sweep
            chain[self.start_step(i)] += 1

        for p in range(1, k + 1):
            longest = max(self.active(p), key=self.fine_cost)
            chain += self._solve(longest)
            chain[self.start_step(longest)] -= self.share
            for i in self.active(p):
                chain[self.start_step(i)] += self.corrected(i, p)
        return chain

    def chain_pipelined(self, k: int) -> np.ndarray:
        """Return the longest chain by grid step [N] where every evaluation starts once its inputs are there.

        Its sum is kS + B - k, for any number of samples and enough devices.
        """
        # chains up to each boundary, after the first sweep
        before = [np.zeros(len(self.work))]
        for i in range(1, self.blocks + 1):
            before.append(before[-1] + self._coarse(i))

        # and after each refinement
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
        one[self.start_step(block)] = 1
        return one
