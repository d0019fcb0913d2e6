"""The branches of a transformer's blocks one by one, for methods that keep, forecast or leave out some of them.

A block of U-ViT and of DiT adds two branches to its tokens: attention and MLP. The equations are
those of `uvit.UViTBlock.body` and `dit.DiTBlock.forward`; a test compares both bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from methods.networks.blocks import BlockNetwork
from methods.networks.dit import DiT, DiTBlock
from methods.networks.preconditioning import RawNetwork
from methods.networks.uvit import UViT, UViTBlock

BranchKind = Literal["attn", "mlp"]
KINDS: tuple[BranchKind, ...] = ("attn", "mlp")
Compute = Callable[[], Tensor]
"""Runs a branch on the current tokens: [rows, tokens, width], before DiT's gate."""
Branch = Callable[[int, BranchKind, Compute], Tensor]
"""What a branch of block i, counted from 0, adds: the computed output, or one in its place."""


def compute_all(i: int, kind: BranchKind, compute: Compute) -> Tensor:
    """Return the computed output: the whole network."""
    return compute()


def raw_by_branches(network: BlockNetwork, branch: Branch = compute_all) -> RawNetwork:
    """Return a raw network whose branches are what `branch` returns.

    Embedders, modulation and gates, long skips and head always run.
    """

    def run(scaled: Tensor, label: Tensor) -> Tensor:
        h, condition = network.embed(scaled, label, network.classes_of(len(scaled)))
        return network.head(tokens_by_branches(network, h, condition, branch), condition)

    return run


def tokens_by_branches(
    network: BlockNetwork, h: Tensor, condition: Tensor | None, branch: Branch = compute_all
) -> Tensor:
    """Return the tokens before the head, from those before the first block [rows, tokens, width]."""
    return run_blocks(network, h, condition, 0, {}, branch)


def run_blocks(
    network: BlockNetwork,
    h: Tensor,
    condition: Tensor | None,
    first: int,
    before: Mapping[int, Tensor],
    branch: Branch = compute_all,
) -> Tensor:
    """Return the tokens after the last block, from those before block `first`; `before` has those of earlier blocks."""
    saved = dict(before)
    read = {network.reads(i) for i in range(network.n_blocks)}
    for i in range(first, network.n_blocks):
        source = network.reads(i)
        h = run_block(network, i, h, condition, None if source is None else saved.pop(source), branch)
        if i in read:
            saved[i] = h
    return h


def run_block(
    network: BlockNetwork,
    i: int,
    h: Tensor,
    condition: Tensor | None,
    skip: Tensor | None,
    branch: Branch = compute_all,
) -> Tensor:
    """Return the tokens after block i, [rows, tokens, width]; `skip` is what it reads of an earlier one."""
    block = _block(network, i)
    if isinstance(block, UViTBlock):
        return _run_uvit(block, i, h if skip is None else block.merge(h, skip), branch)
    assert condition is not None
    return _run_dit(block, i, h, condition, branch)


def attention_input(network: BlockNetwork, i: int, h: Tensor, condition: Tensor | None) -> Tensor:
    """Return what the attention of block i reads, from the tokens before it: normed, and in DiT modulated."""
    block = _block(network, i)
    if isinstance(block, UViTBlock):
        return block.norm1(h)
    assert condition is not None
    shift, scale = block.adaLN_modulation(condition).chunk(6, dim=1)[:2]
    return block.norm1(h) * (1 + scale[:, None]) + shift[:, None]


def _run_uvit(block: UViTBlock, i: int, h: Tensor, branch: Branch) -> Tensor:
    middle = h + branch(i, "attn", lambda: block.attn(block.norm1(h)))
    return middle + branch(i, "mlp", lambda: block.mlp(block.norm2(middle)))


def _run_dit(block: DiTBlock, i: int, h: Tensor, condition: Tensor, branch: Branch) -> Tensor:
    shift1, scale1, gate1, shift2, scale2, gate2 = (
        part[:, None] for part in block.adaLN_modulation(condition).chunk(6, dim=1)
    )
    middle = h + gate1 * branch(i, "attn", lambda: block.attn(block.norm1(h) * (1 + scale1) + shift1))
    return middle + gate2 * branch(i, "mlp", lambda: block.mlp(block.norm2(middle) * (1 + scale2) + shift2))


def _block(network: BlockNetwork, i: int) -> UViTBlock | DiTBlock:
    if isinstance(network, DiT):
        found = network.blocks[i]
    else:
        assert isinstance(network, UViT)
        found = [*network.in_blocks, network.mid_block, *network.out_blocks][i]
    assert isinstance(found, UViTBlock | DiTBlock)
    return found
