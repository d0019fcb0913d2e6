"""Parareal refinement of whole trajectories (SRDS): the propagators, the stopping rule, and two programs.

Selvam, Merchant, Ermon 2024 (arXiv:2412.08292). `refine_in_turns` ends every refinement before the
next one begins. `refine_pipelined` starts each block's next solve as soon as its inputs are there.
Every rank runs the same program. With the same calls of the network both make the same bytes:
x^p_i = f^p_i + (g^p_i - g^{p-1}_i), where the bracket is exactly 0 once x_{i-1} has converged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from methods.executors.lockstep import Member, advance
from methods.executors.srds_blocks import BlockPlan, owner
from methods.parts import Evaluate, Peers, Solver, StepNoise
from methods.solvers.ddim import DDIM

_EULER = DDIM()


def corrected(fine: Tensor, coarse: Tensor, coarse_before: Tensor) -> Tensor:
    """Return the refined state.

    The order of the sum makes it bitwise `fine` where the coarse steps are equal.
    """
    return fine + (coarse - coarse_before)


class Propagators:
    """F and G of every block over one network, and the number of calls of each refinement."""

    def __init__(
        self, evaluate: Evaluate, solver: Solver, sigmas: np.ndarray, noise: StepNoise, plan: BlockPlan
    ) -> None:
        self.plan = plan
        self.refinement = 0
        """The refinement that calls are counted for."""
        self.calls: Counter[int] = Counter()
        self.images: Tensor | None = None
        """The places in the batch of the images that are still refined, int64; None: all in order."""
        self.before_evaluation: Callable[[], None] = lambda: None
        """Called before every evaluation; may raise to abort."""
        self._evaluate = evaluate
        self._solver = solver
        self._sigmas = sigmas
        self._coarse = sigmas[list(plan.edges)]
        self._noise = noise

    def evaluate(self, x: Tensor, sigma: float | Tensor, step: int | Tensor, images: Tensor | None = None) -> Tensor:
        """Return D(x; sigma), counted."""
        self.before_evaluation()
        self.calls[self.refinement] += 1
        return self._evaluate(x, sigma, step) if images is None else self._evaluate(x, sigma, step, images)

    def solve_fine(
        self, blocks: Sequence[int], starts: Sequence[Tensor], known: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """Return F_i(start) of the blocks, solved in lockstep; `known` is D at each start, where it is reused."""
        members = [
            Member(
                start, self.plan.edges[i - 1], self._solver.init_memory(self._solver.artifact), d, images=self.images
            )
            for i, start, d in zip(blocks, starts, known, strict=True)
        ]
        for offset in range(max((len(self.plan.steps(i)) for i in blocks), default=0)):
            going = [m for m, i in zip(members, blocks, strict=True) if offset < len(self.plan.steps(i))]
            advance(self.evaluate, self._solver, self._sigmas, going, self._noise)
        return [member.x for member in members]

    def evaluate_start(self, block: int, x: Tensor) -> Tensor:
        """Return D at the start of a block, where G and F both begin."""
        return self.evaluate(x, float(self._coarse[block - 1]), self.plan.edges[block - 1], self.images)

    def step_coarse(self, block: int, x: Tensor, estimate: Tensor) -> Tensor:
        """Return G_i(x): one first-order step over the whole block, from D at its start."""
        return _EULER.step(x, block - 1, self._coarse, lambda *_: estimate, None, self._noise)


class StoppingRule:
    """A sample is refined until its final state changes by less than the tolerance, in the mean over its values.

    A stopped sample keeps its state, whatever is computed for it later.
    """

    def __init__(self, final: Tensor, tolerance: float, keep_iterates: bool = False) -> None:
        self.final = final.clone()
        self.iterations = torch.zeros(len(final), dtype=torch.int64, device=final.device)
        self.open = torch.ones(len(final), dtype=torch.bool, device=final.device)
        self.iterates: list[Tensor] | None = [final] if keep_iterates else None
        """Final states after 0, 1, ... refinements; None if they are not kept."""
        self._tolerance = tolerance

    def update(self, p: int, rows: Tensor, before: Tensor, now: Tensor) -> None:
        """Stop those of the samples `rows` whose final states of refinements p - 1 and p hardly differ."""
        moving = self.open[rows]
        self.final[rows[moving]] = now[moving]
        self.iterations[rows[moving]] = p
        moved = (now - before).double().flatten(1).abs().mean(1)
        self.open[rows] = moving & ~(moved < self._tolerance)
        if self.iterates is not None:
            self.iterates.append(self.final.clone())


def refine_in_turns(
    f: Propagators, x: Tensor, peers: Peers, tolerance: float, most: int, stacked: bool, keep_iterates: bool = False
) -> StoppingRule:
    """Refine, one refinement after the other: fine solves on all ranks, coarse sweeps on rank 0.

    Rank 0 returns how every sample stopped; what the other ranks return has no meaning. Call
    shapes are fixed, one call per block for all samples, unless `stacked`: then the blocks of a
    rank are solved in one call, without the samples that have stopped. Called by every rank,
    inside what is timed; ranks wait for each other.
    """
    plan, first = f.plan, peers.rank == 0
    states, known, coarse = {0: x}, {}, {}

    # first coarse sweep
    if first:
        for i in range(1, plan.blocks + 1):
            known[i] = f.evaluate_start(i, states[i - 1])
            states[i] = coarse[i] = f.step_coarse(i, states[i - 1], known[i])
    stop = StoppingRule(states[plan.blocks] if first else x, tolerance, keep_iterates)
    rows = torch.arange(len(x), device=x.device)

    for p in range(1, most + 1):
        f.refinement = p
        solved = _solve_active(f, peers, plan.active(p), x[: len(rows)], states, known, stacked)

        # coarse sweep with corrections
        if first:
            before = states[plan.blocks]
            for i in plan.active(p):
                if plan.corrected(i, p):
                    known[i] = f.evaluate_start(i, states[i - 1])
                    new = f.step_coarse(i, states[i - 1], known[i])
                    states[i] = corrected(solved[i], new, coarse[i])
                    coarse[i] = new
                else:
                    states[i] = solved[i]
            stop.update(p, rows, before, states[plan.blocks])

        # all ranks learn which samples go on
        stop.open = peers.broadcast(stop.open.to(torch.uint8), 0).bool()
        if not stop.open.any():
            break
        if stacked:
            keep = stop.open[rows]
            rows = rows[keep]
            f.images = rows
            states, known, coarse = ({i: s[keep] for i, s in kept.items()} for kept in (states, known, coarse))
    return stop


def _solve_active(
    f: Propagators,
    peers: Peers,
    active: Sequence[int],
    like: Tensor,
    states: dict[int, Tensor],
    known: dict[int, Tensor],
    stacked: bool,
) -> dict[int, Tensor]:
    """Return F_i(x_{i-1}) of the active blocks on rank 0.

    The other ranks get their blocks' starts from it.
    """
    share, rank = f.plan.share, peers.rank
    own = [i for i in active if owner(i, peers.size) == rank]
    away = [i for i in active if i not in own] if rank == 0 else []
    starts: dict[int, Tensor] = {}
    estimates: dict[int, Tensor | None] = {}

    # rank 0 sends the starts of the others' blocks
    for i in away:
        pair = torch.stack((states[i - 1], known[i])) if share else states[i - 1]
        peers.isend(pair, owner(i, peers.size), 2 * i)
    peers.flush()

    # starts of the own blocks, with D there if it is shared
    for i in own:
        if rank == 0:
            starts[i], estimates[i] = states[i - 1], known[i] if share else None
        elif share:
            starts[i], estimates[i] = peers.recv(like.expand(2, *like.shape), 0, 2 * i)
        else:
            starts[i], estimates[i] = peers.recv(like, 0, 2 * i), None

    # solve, and send the ends to rank 0
    solved: dict[int, Tensor] = {}
    for together in [own] if stacked else [[i] for i in own]:
        finals = f.solve_fine(together, [starts[i] for i in together], [estimates[i] for i in together])
        solved.update(zip(together, finals, strict=True))
        if rank != 0:
            for i in together:
                peers.isend(solved[i], 0, 2 * i + 1)
    return solved | {i: peers.recv(like, owner(i, peers.size), 2 * i + 1) for i in away}


class _StopRequested(Exception):
    """All samples of the batch have stopped."""


def refine_pipelined(
    f: Propagators, x: Tensor, peers: Peers, tolerance: float, most: int, keep_iterates: bool = False
) -> StoppingRule:
    """Refine block by block in (p, i) order on every rank.

    The owner of the last block returns how every sample stopped; what the other ranks return has
    no meaning. Every state goes to the owner of the next block as soon as it is known. Once all
    samples have stopped, the owner of the last block requests a stop; the others check for it
    before every evaluation from the second refinement on. A rank that stops sends one meaningless
    state in place of its next one, so that no rank waits for it. Called by every rank, inside what
    is timed; ranks wait for each other.
    """
    plan, last = f.plan, f.plan.blocks
    right = (peers.rank + 1) % peers.size

    # own solves, and the starts that they receive
    todo = [(p, i) for p in range(most + 1) for i in plan.active(p) if owner(i, peers.size) == peers.rank]
    wanted = iter([(p, i) for p, i in todo if i > 1 and (p == 0 or plan.corrected(i, p))])

    # by block: its start, D there, and its latest coarse step
    starts, known, coarse = {}, {}, {}
    before = x
    stop = StoppingRule(x, tolerance)
    rows = torch.arange(len(x), device=x.device)

    def tag(p: int, i: int) -> int:
        return p * (last + 1) + i

    def check_stop() -> None:
        if f.refinement > 1 and peers.stop_requested():  # the first refinement's result needs all of it
            raise _StopRequested

    def post_next_recv() -> None:
        """Begin to receive the next start that is needed, one at a time."""
        for p, i in islice(wanted, 1):
            peers.irecv(x, owner(i - 1, peers.size), tag(p, i - 1))

    def begin_block(p: int, i: int) -> Tensor:
        """Wait for the start of block i after p refinements, evaluate there, and return the coarse step."""
        if i == 1:
            starts[i] = x
        else:
            starts[i] = peers.recv(x, owner(i - 1, peers.size), tag(p, i - 1))
            post_next_recv()
        known[i] = f.evaluate_start(i, starts[i])
        return f.step_coarse(i, starts[i], known[i])

    f.before_evaluation = check_stop
    post_next_recv()
    try:
        while todo:
            p, i = todo[0]
            f.refinement = p

            # the block's end: coarse at first, then fine with a correction
            if p == 0:
                state = coarse[i] = begin_block(0, i)
            else:
                [state] = f.solve_fine([i], [starts[i]], [known[i] if plan.share else None])
                if plan.corrected(i, p):
                    new = begin_block(p, i)
                    state, coarse[i] = corrected(state, new, coarse[i]), new

            # send it on, or judge the final state
            if i < last:
                peers.isend(state, right, tag(p, i))
            elif p == 0:
                before, stop = state, StoppingRule(state, tolerance, keep_iterates)
            else:
                stop.update(p, rows, before, state)
                before = state
                if p < most and not stop.open.any():
                    peers.request_stop()
            del todo[0]
    except _StopRequested:
        # the next rank waits for one more state
        unsent = [tag(p, i) for p, i in todo if i < last]
        if unsent and right != peers.rank:
            peers.isend(x, right, unsent[0])

    peers.end_batch(x)
    return stop
