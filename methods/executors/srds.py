"""SRDS: Parareal over the sampling trajectory, on one device or spread over several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from methods.executors.lockstep import Member, advance, work
from methods.executors.srds_blocks import Cut, cut, default_blocks, owner
from methods.executors.srds_latency_model import replay
from methods.executors.srds_refinement import Propagators, in_turns, pipelined
from methods.networks.base import NetworkParams
from methods.parts import Evaluate, Executor, Method, Solver, StepNoise, Trace
from methods.parts import Params as BaseParams
from methods.peers import Alone

_REPLAYED = (1, 2, 4, 8)
"""Devices to replay, besides its own and one per block."""


class SRDS(Executor):
    """Refine all blocks of the trajectory at once until its end stops moving: Selvam, Merchant, Ermon 2024.

    A coarse sweep of one DDIM step a block is corrected by fine solves with the trial's own solver. The answer tends
    to the serial one and is bitwise that one after `blocks` refinements, where call shapes are fixed.

    "batched" solves the blocks of a device in one stacked call and leaves stopped samples out; an image's last bits
    then depend on its batch. "vanilla" makes one call per block and "pipelined" starts a block's next solve as soon as
    its start is known; in both a call always holds the whole batch, so an image does not depend on the others', and
    what is computed for samples that have stopped counts as speculative.

    A multistep solver needs `restart`: its memory is then new at every block's start, and "serial" is that solver.
    """

    name = "srds"
    summary = "Parareal refinement of blocks of steps (Selvam, Merchant, Ermon 2024)"
    parallel = True

    class Params(BaseParams):
        blocks: int | None = Field(None, ge=1)
        """Default round(sqrt(steps))."""
        tolerance: float = Field(7.8e-4, ge=0)
        """Mean absolute change of a final state, on the scale [-1, 1], below which it stops; 0 refines to the end."""
        most: int | None = Field(None, ge=1)
        """Most refinements, default as many as blocks."""
        form: Literal["batched", "vanilla", "pipelined"] = "batched"
        devices: int = Field(1, ge=1)
        restart: bool = False
        share: bool = True
        """Whether the fine solve takes over the coarse step's evaluation at its start."""
        skip: bool = True
        """Whether blocks that are exact already are left out."""

    def device_group(self) -> int:
        return self.params.devices

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        solver = cast(Solver, parts["solver"])
        blocks = default_blocks(steps) if self.params.blocks is None else self.params.blocks
        if solver.stochastic:
            return f'solver "{solver.name}" is stochastic, and Parareal needs a deterministic one; take "ddim"'
        if solver.multistep and not self.params.restart:
            return (
                f'solver "{solver.name}" is multistep and cannot carry its memory from block to block; give '
                f"restart = true to begin it anew in each, or take a one-step solver"
            )
        if blocks > steps:
            return f"blocks is {blocks}, but there are only {steps} steps; give at most {steps}"
        if blocks < self.params.devices:
            return (
                f"devices is {self.params.devices}, but there are only {blocks} blocks to spread; give at most {blocks}"
            )
        return None

    def run(
        self, evaluate: Evaluate, solver: Solver, sigmas: np.ndarray, x: Tensor, noise: StepNoise, trace: Trace
    ) -> Tensor:
        params = self.params
        peers = trace.peers or Alone()
        if peers.size != params.devices:
            raise ValueError(f"devices is {params.devices}, but {peers.size} ranks are here")
        plan = self._plan(solver, sigmas)
        most = min(params.most or plan.blocks, plan.blocks)
        watched = trace.iterates is not None
        sent = peers.bytes_sent

        f = Propagators(evaluate, solver, sigmas, noise, plan)
        if params.form == "pipelined":
            stop = pipelined(f, x, peers, params.tolerance, most, watched)
            source = owner(plan.blocks, peers.size)
        else:
            stacked = params.form == "batched"
            stop, source = in_turns(f, x, peers, params.tolerance, most, stacked, watched), 0
        final = peers.broadcast(stop.final, source)
        iterations = peers.broadcast(stop.iterations, source).cpu()
        trace.bytes_sent += peers.bytes_sent - sent
        if trace.iterates is not None:
            mine = stop.iterates if peers.rank == source else None
            for p in range(int(iterations.max()) + 1):
                trace.iterates.append(peers.broadcast(mine[p] if mine else x, source))
        peers.end_batch(x)

        trace.iterations = iterations
        chain = plan.pipelined if params.form == "pipelined" else plan.in_turns
        chains = {k: torch.from_numpy(chain(k)) for k in iterations.unique().tolist()}
        trace.critical = torch.stack([chains[k] for k in iterations.tolist()])
        if params.form != "batched":
            trace.speculative += sum(calls * int((iterations < p).sum()) for p, calls in f.calls.items())
        return final

    def device_counts(self, sigmas: np.ndarray) -> tuple[int, ...]:
        blocks = cut(len(sigmas) - 1, self.params.blocks).blocks
        return tuple(sorted(n for n in {self.params.devices, blocks, *_REPLAYED} if n <= blocks))

    def call_as_in_run(
        self,
        evaluate: Evaluate,
        solver: Solver,
        sigmas: np.ndarray,
        x: Tensor,
        steps: Sequence[int],
        noise: StepNoise,
    ) -> None:
        advance(
            evaluate, solver, sigmas, [Member(x, step, solver.init_memory(solver.artifact)) for step in steps], noise
        )

    def replayed(
        self,
        solver: Solver,
        sigmas: np.ndarray,
        iterations: int,
        devices: int,
        call_seconds: Callable[[Sequence[int]], float],
        hop_seconds: float,
        rows: int = 1,
    ) -> float:
        plan = self._plan(solver, sigmas)
        return replay(plan, iterations, devices, call_seconds, hop_seconds, self.params.form, rows=rows).seconds

    def _plan(self, solver: Solver, sigmas: np.ndarray) -> Cut:
        """Return the blocks of a grid under this solver."""
        params, steps = self.params, len(sigmas) - 1
        costs, reads_start = work(solver, sigmas, cut(steps, params.blocks).edges)
        return cut(steps, params.blocks, costs, params.skip, params.share and reads_start)
