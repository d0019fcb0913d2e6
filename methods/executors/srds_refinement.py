"""Parareal refinement of whole trajectories (SRDS): the propagators, the rule of stopping, and two programs.

`in_turns` ends every refinement before it begins the next one; `pipelined` starts each block's next solve as soon as
its inputs are there. Both are run by every rank alike, and with the same calls of the network they make the same
bytes: x^p_i = f^p_i + (g^p_i - g^{p-1}_i), where the bracket is exactly 0 once x_{i-1} has come to rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from methods.executors.lockstep import Member, advance
from methods.executors.srds_blocks import Cut, owner
from methods.parts import Evaluate, Peers, Solver, StepNoise
from methods.solvers.ddim import DDIM

_EULER = DDIM()


def corrected(fine: Tensor, coarse: Tensor, coarse_before: Tensor) -> Tensor:
    """Return the refined state. The association is what makes it bitwise exact where the coarse steps are equal."""
    return fine + (coarse - coarse_before)


class Propagators:
    """F and G of every block over one network, and how many calls each refinement made."""

    def __init__(self, evaluate: Evaluate, solver: Solver, sigmas: np.ndarray, noise: StepNoise, cut: Cut) -> None:
        self.cut = cut
        self.refinement = 0
        """What calls are counted under."""
        self.calls: Counter[int] = Counter()
        self.look: Callable[[], None] = lambda: None
        """Called before every evaluation; may raise to end the work."""
        self._evaluate = evaluate
        self._solver = solver
        self._sigmas = sigmas
        self._coarse = sigmas[list(cut.edges)]
        self._noise = noise

    def evaluate(self, x: Tensor, sigma: float | Tensor, step: int | Tensor) -> Tensor:
        """Return D(x; sigma), counted."""
        self.look()
        self.calls[self.refinement] += 1
        return self._evaluate(x, sigma, step)

    def fine(self, blocks: Sequence[int], starts: Sequence[Tensor], known: Sequence[Tensor | None]) -> list[Tensor]:
        """Return F_i(start) of the blocks, solved in lockstep; `known` is D at each start, if it is to be reused."""
        members = [
            Member(start, self.cut.edges[i - 1], self._solver.init_memory(self._solver.artifact), d)
            for i, start, d in zip(blocks, starts, known, strict=True)
        ]
        for offset in range(max((len(self.cut.steps(i)) for i in blocks), default=0)):
            going = [m for m, i in zip(members, blocks, strict=True) if offset < len(self.cut.steps(i))]
            advance(self.evaluate, self._solver, self._sigmas, going, self._noise)
        return [member.x for member in members]

    def estimate(self, block: int, x: Tensor) -> Tensor:
        """Return D at the start of a block, where G and F both begin."""
        return self.evaluate(x, float(self._coarse[block - 1]), self.cut.edges[block - 1])

    def coarse(self, block: int, x: Tensor, estimate: Tensor) -> Tensor:
        """Return G_i(x): one step of first order over the whole block."""
        return _EULER.step(x, block - 1, self._coarse, lambda *_: estimate, None, self._noise)


class Stop:
    """Per sample: refine until the final state moves by less than the tolerance, in the mean over its numbers.

    A sample that has stopped keeps its state, whatever is computed for it afterwards.
    """

    def __init__(self, final: Tensor, tolerance: float, watched: bool = False) -> None:
        self.final = final.clone()
        self.iterations = torch.zeros(len(final), dtype=torch.int64, device=final.device)
        self.open = torch.ones(len(final), dtype=torch.bool, device=final.device)
        self.iterates: list[Tensor] | None = [final] if watched else None
        """Final states after 0, 1, ... refinements, where somebody watches."""
        self._tolerance = tolerance

    def take(self, p: int, rows: Tensor, before: Tensor, now: Tensor) -> None:
        """Take in the final states of refinements p - 1 and p of the samples `rows`."""
        moving = self.open[rows]
        self.final[rows[moving]] = now[moving]
        self.iterations[rows[moving]] = p
        moved = (now - before).double().flatten(1).abs().mean(1)
        self.open[rows] = moving & ~(moved < self._tolerance)
        if self.iterates is not None:
            self.iterates.append(self.final.clone())


def in_turns(
    f: Propagators, x: Tensor, peers: Peers, tolerance: float, most: int, stacked: bool, watched: bool = False
) -> Stop:
    """Refine, each refinement after the other: fine solves on all ranks, coarse sweeps on rank 0.

    Rank 0 returns how every sample stopped; what the other ranks return has no meaning.
    Call shapes are fixed, one call per block for all samples, unless `stacked`: then the blocks of a rank are solved
    in one call, and samples that have stopped are left out.
    """
    cut, first = f.cut, peers.rank == 0
    states, known, coarse = {0: x}, {}, {}
    if first:
        for i in range(1, cut.blocks + 1):
            known[i] = f.estimate(i, states[i - 1])
            states[i] = coarse[i] = f.coarse(i, states[i - 1], known[i])
    stop = Stop(states[cut.blocks] if first else x, tolerance, watched)
    rows = torch.arange(len(x), device=x.device)
    for p in range(1, most + 1):
        f.refinement = p
        solved = _solve_all(f, peers, cut.active(p), x[: len(rows)], states, known, stacked)
        if first:
            before = states[cut.blocks]
            for i in cut.active(p):
                if cut.corrected(i, p):
                    known[i] = f.estimate(i, states[i - 1])
                    new = f.coarse(i, states[i - 1], known[i])
                    states[i] = corrected(solved[i], new, coarse[i])
                    coarse[i] = new
                else:
                    states[i] = solved[i]
            stop.take(p, rows, before, states[cut.blocks])
        stop.open = peers.broadcast(stop.open.to(torch.uint8), 0).bool()
        if not stop.open.any():
            break
        if stacked:
            keep = stop.open[rows]
            rows = rows[keep]
            states, known, coarse = ({i: s[keep] for i, s in kept.items()} for kept in (states, known, coarse))
    return stop


def _solve_all(
    f: Propagators,
    peers: Peers,
    active: Sequence[int],
    like: Tensor,
    states: dict[int, Tensor],
    known: dict[int, Tensor],
    stacked: bool,
) -> dict[int, Tensor]:
    """Return F_i(x_{i-1}) of the active blocks on rank 0; the other ranks take their blocks' starts from it."""
    share, rank = f.cut.share, peers.rank
    starts: dict[int, Tensor] = {}
    estimates: dict[int, Tensor | None] = {}
    mine = [i for i in active if owner(i, peers.size) == rank]
    away = [i for i in active if i not in mine] if rank == 0 else []
    for i in away:
        pair = torch.stack((states[i - 1], known[i])) if share else states[i - 1]
        peers.isend(pair, owner(i, peers.size), 2 * i)
    peers.flush()
    for i in mine:
        if rank == 0:
            starts[i], estimates[i] = states[i - 1], known[i] if share else None
        elif share:
            starts[i], estimates[i] = peers.recv(like.expand(2, *like.shape), 0, 2 * i)
        else:
            starts[i], estimates[i] = peers.recv(like, 0, 2 * i), None
    solved: dict[int, Tensor] = {}
    for together in [mine] if stacked else [[i] for i in mine]:
        finals = f.fine(together, [starts[i] for i in together], [estimates[i] for i in together])
        solved.update(zip(together, finals, strict=True))
        if rank != 0:
            for i in together:
                peers.isend(solved[i], 0, 2 * i + 1)
    return solved | {i: peers.recv(like, owner(i, peers.size), 2 * i + 1) for i in away}


class _Halted(Exception):
    """Nothing further of this batch is wanted."""


def pipelined(f: Propagators, x: Tensor, peers: Peers, tolerance: float, most: int, watched: bool = False) -> Stop:
    """Refine block by block in (p, i) order on every rank.

    The owner of the last block returns how every sample stopped; what the other ranks return has no meaning.
    Every state goes to the owner of the next block as soon as it is known. When the last block's owner has seen all
    samples stop it halts the others, who look for that before every evaluation from the second refinement on; then a
    rank that leaves sends one state of no meaning in place of the next one, so that nobody waits for it.
    """
    cut, last = f.cut, f.cut.blocks
    right = (peers.rank + 1) % peers.size
    todo = [(p, i) for p in range(most + 1) for i in cut.active(p) if owner(i, peers.size) == peers.rank]
    wanted = iter([(p, i) for p, i in todo if i > 1 and (p == 0 or cut.corrected(i, p))])
    starts, known, coarse = {}, {}, {}
    before = x
    stop = Stop(x, tolerance)
    rows = torch.arange(len(x), device=x.device)

    def tag(p: int, i: int) -> int:
        return p * (last + 1) + i

    def look() -> None:
        if f.refinement > 1 and peers.stop_requested():  # the first refinement's answer needs all of it
            raise _Halted

    def expect() -> None:
        """Ask for the start that is wanted next, of which there is one at any time."""
        for p, i in islice(wanted, 1):
            peers.irecv(x, owner(i - 1, peers.size), tag(p, i - 1))

    def begin(p: int, i: int) -> Tensor:
        """Wait for the start of block i after p refinements, evaluate there, and return the coarse step."""
        if i == 1:
            starts[i] = x
        else:
            starts[i] = peers.recv(x, owner(i - 1, peers.size), tag(p, i - 1))
            expect()
        known[i] = f.estimate(i, starts[i])
        return f.coarse(i, starts[i], known[i])

    f.look = look
    expect()
    try:
        while todo:
            p, i = todo[0]
            f.refinement = p
            if p == 0:
                state = coarse[i] = begin(0, i)
            else:
                [state] = f.fine([i], [starts[i]], [known[i] if cut.share else None])
                if cut.corrected(i, p):
                    new = begin(p, i)
                    state, coarse[i] = corrected(state, new, coarse[i]), new
            if i < last:
                peers.isend(state, right, tag(p, i))
            elif p == 0:
                before, stop = state, Stop(state, tolerance, watched)
            else:
                stop.take(p, rows, before, state)
                before = state
                if p < most and not stop.open.any():
                    peers.request_stop()
            del todo[0]
    except _Halted:
        unsent = [tag(p, i) for p, i in todo if i < last]
        if unsent and right != peers.rank:
            peers.isend(x, right, unsent[0])
    peers.end_batch(x)
    return stop
