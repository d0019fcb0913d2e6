"""Blocks run branch by branch are the network's own, bit for bit; a branch can be replaced."""

from __future__ import annotations

import torch
from kit.block_kit import both, network

from methods.networks.branches import raw_by_branches, run_block


@both
def test_all_branches_computed_are_the_network_bit_for_bit(family: str) -> None:
    net, x = network(family), torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    label = torch.tensor([3.0, 400.0, 990.0])
    assert torch.equal(raw_by_branches(net)(x, label), net.raw(x, label))
    h, condition = net.embed(x, label, None)
    for i in range(net.n_blocks):
        skip = None if net.reads(i) is None else h + 1
        assert torch.equal(run_block(net, i, h, condition, skip), net.block(i, h, condition, skip))


@both
def test_each_branch_is_called_once_in_order_and_its_output_is_what_is_added(family: str) -> None:
    net, x, label = network(family), torch.ones(1, 1, 8, 8), torch.tensor([500.0])
    seen = []

    def halved(i: int, kind: str, compute: object) -> torch.Tensor:
        seen.append((i, kind))
        return compute() / 2  # type: ignore[operator,no-any-return]

    changed = raw_by_branches(net, halved)(x, label)
    assert seen == [(i, kind) for i in range(net.n_blocks) for kind in ("attn", "mlp")]
    assert not torch.allclose(changed, net.raw(x, label))


@both
def test_a_conditional_network_runs_with_its_classes(family: str) -> None:
    net, x, label = network(family, classes=4), torch.ones(2, 1, 8, 8), torch.tensor([500.0, 500.0])
    net.row_classes = torch.tensor([1, 3])
    assert torch.equal(raw_by_branches(net)(x, label), net.raw(x, label))
    assert not torch.equal(net.raw(x, label)[0], net.raw(x, label)[1])
