"""Reads and writes a parameter's float32 weights and Adam moments as whole tensors under each ZeRO stage.

Rajbhandari et al. 2020: stage 0 keeps everything on every rank, stages 1 and 2 split the optimizer's state, stage 3
also the weights. DeepSpeed's own full setters fail for a parameter whose size the ranks do not divide (stage 3), and
before the first step (stages 1 and 2, where moments do not exist yet). Resuming needs both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Piece:
    """This rank's share of a parameter: `numel` elements from `start`, at `offset` in the tensor `flat`."""

    flat: Tensor
    offset: int
    numel: int
    start: int
    shape: torch.Size
    whole: bool
    """Whether `flat` is the parameter itself, of the parameter's shape, replicated on every rank."""

    def read(self, stored: Tensor) -> Tensor:
        """Return the whole parameter's values from a tensor laid out as `flat`; every rank of the group must call."""
        if self.whole:
            return stored.detach().clone(memory_format=torch.contiguous_format)
        full = torch.zeros(self.shape.numel(), dtype=stored.dtype, device=stored.device)
        full[self.start : self.start + self.numel] = stored.detach()[self.offset : self.offset + self.numel]
        torch.distributed.all_reduce(full)
        return full.view(self.shape)

    def write(self, stored: Tensor, values: Tensor) -> None:
        """Put this rank's part of the whole parameter's values into a tensor laid out as `flat`."""
        with torch.no_grad():
            if self.whole:
                stored.copy_(values)
            else:
                part = values.reshape(-1)[self.start : self.start + self.numel]
                stored[self.offset : self.offset + self.numel].copy_(part)


def local_pieces(engine: Any, parameters: list[nn.Parameter], stage: int) -> list[Piece]:
    """Return the local piece of each parameter under a DeepSpeed engine of a ZeRO stage."""
    locate: Callable[[Any, nn.Parameter], Piece] = (_replicated, _split, _split, _partitioned)[stage]
    return [locate(engine, parameter) for parameter in parameters]


def distinct_flats(found: list[Piece]) -> list[Tensor]:
    """Return the distinct tensors that hold this rank's float32 weights."""
    return list({id(piece.flat): piece.flat for piece in found}.values())


def torch_optimizer(engine: Any) -> torch.optim.Optimizer:
    """Return the torch optimizer inside the engine, whose state is keyed by the tensors of `distinct_flats`."""
    return getattr(engine.optimizer, "optimizer", engine.optimizer)


def create_moments(engine: Any, found: list[Piece], step: int) -> None:
    """Give Adam zero moments for every local tensor, as after `step` steps."""
    state = torch_optimizer(engine).state
    for flat in distinct_flats(found):
        zeros = {moment: torch.zeros_like(flat, requires_grad=False) for moment in MOMENTS}
        state[flat] = {"step": torch.tensor(float(step)), **zeros}


def _replicated(engine: Any, parameter: nn.Parameter) -> Piece:
    return Piece(parameter, 0, parameter.numel(), 0, parameter.shape, whole=True)


def _split(engine: Any, parameter: Any) -> Piece:
    flat = engine.optimizer.single_partition_of_fp32_groups[0]  # one group, since there is one learning rate
    mapping = parameter._hp_mapping
    if mapping is None:
        return Piece(flat, 0, 0, 0, parameter.shape, whole=False)
    here, there = mapping.hp_fragment_address, mapping.lp_fragment_address
    return Piece(flat, here.start, here.numel, there.start, parameter.shape, whole=False)


def _partitioned(engine: Any, parameter: Any) -> Piece:
    zero = engine.optimizer
    group, offset, size = zero.grad_position[zero.get_param_id(parameter)]
    start = min(torch.distributed.get_rank() * size, parameter.ds_numel)
    numel = min(size, parameter.ds_numel - start)  # the last rank's part is padded
    return Piece(zero.fp32_partitioned_groups_flat[group], offset, numel, start, parameter.ds_shape, whole=False)
