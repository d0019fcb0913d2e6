"""FLOPs of one call: 2 per multiply-add of matrix products, convolutions and attention; nothing else counts.

The counter is torch's FlopCounterMode on the eager network. DeepSpeed's profiler counts MACs independently, by patching
functions instead of watching operators; `cross_check` demands FLOPs = 2 MACs. Count outside timed regions, once per
network and shape: FLOPs are exactly linear in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_backward_flop, sdpa_flop

from harness.measure.deepspeed_start import load_deepspeed
from harness.sampling.conditions import any_class
from methods.networks.base import DataShape, Network

_PATCHED_IN_TORCH = ("matmul", "mm", "bmm", "addmm", "mul", "add", "einsum", "baddbmm")
_PATCHED_IN_TENSOR = ("matmul", "__matmul__", "mm", "bmm", "addmm", "mul", "add")


@dataclass(frozen=True)
class CrossCheck:
    """Two independent counts of one call at batch 1."""

    flops: int
    macs: int

    @property
    def agree(self) -> bool:
        """Return whether FLOPs are twice the MACs, to the last integer."""
        return self.flops == 2 * self.macs


def count_cpu_attention(registry: dict[Any, Any] = flop_registry) -> None:
    """Register fused CPU attention with torch's counter where it is missing, as in torch 2.11."""
    aten = torch.ops.aten
    registry.setdefault(aten._scaled_dot_product_flash_attention_for_cpu, sdpa_flop)
    registry.setdefault(aten._scaled_dot_product_flash_attention_for_cpu_backward, sdpa_backward_flop)


count_cpu_attention()


def count_flops(call: Callable[..., Any], *args: Any) -> int:
    """Return the FLOPs of `call(*args)` without gradients; of a compiled module, the eager one is counted."""
    call = getattr(call, "_orig_mod", call)
    with without_fused_attention_layers(), torch.no_grad(), flop_counter() as counter:
        call(*args)
    return int(counter.get_total_flops())


def count_by_module(module: nn.Module, *args: Any) -> dict[str, int]:
    """Return the FLOPs inside every submodule that ran, by its dotted name ("" is the whole), children included."""
    with without_fused_attention_layers(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*args)
    root = type(module).__name__
    found = {"": int(counter.get_total_flops())}
    for name, operators in counter.get_flop_counts().items():
        if name.startswith(f"{root}."):
            found[name.removeprefix(f"{root}.")] = int(sum(operators.values()))
    return found


def coverage(network: nn.Module, *args: Any) -> float:
    """Return the share (0 to 1) of matrix and convolution weights in modules whose work the counter saw in one call."""
    flops = count_by_module(network, *args)
    seen = total = 0
    attention: dict[int, str] = {}  # an attention layer reads its children's weights itself, without calling them

    for name, module in network.named_modules():
        if isinstance(module, nn.Embedding):
            continue  # a table is read, not multiplied
        if isinstance(module, nn.MultiheadAttention):
            attention.update({id(child): name for child in module.modules()})
        counted_as = attention.get(id(module), name)
        size = sum(p.numel() for p in module.parameters(recurse=False) if p.ndim >= 2)
        total += size
        seen += size if flops.get(counted_as, 0) > 0 else 0
    return seen / total if total else 1.0


def deepspeed_macs(network: nn.Module, *args: Any) -> int:
    """Return the multiply-adds of one call by DeepSpeed's profiler; every function it patches is restored."""
    load_deepspeed()
    from deepspeed.profiling.flops_profiler import profiler as module

    with _restored_functions(), without_fused_attention_layers(), torch.no_grad():
        profiler = module.FlopsProfiler(network)
        try:
            profiler.start_profile()
            network(*args)
            return int(profiler.get_total_macs())
        finally:
            profiler.end_profile()
            module.module_flop_count.clear()
            module.module_mac_count.clear()


def cross_check(network: Network, data: DataShape) -> CrossCheck:
    """Return both counts of D(x; sigma = 1) for one image; the network's mode is kept."""
    weight = next(iter(network.parameters()), torch.zeros(()))
    generator = torch.Generator().manual_seed(0)
    shape = (1, data.channels, data.resolution, data.resolution)
    x = torch.randn(shape, generator=generator).to(weight.device, weight.dtype)
    sigma = torch.ones(1, device=weight.device, dtype=weight.dtype)
    with any_class(network, 1):
        return CrossCheck(count_flops(network, x, sigma), deepspeed_macs(network, x, sigma))


def training_flops(network: Network, images: Tensor, generator: torch.Generator) -> int:
    """Return the FLOPs of one training step on a batch in [-1, 1]: loss and its gradient. Gradients are discarded."""
    with flop_counter() as counter:
        network.loss(images, generator).backward()
    network.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())


def flop_counter() -> FlopCounterMode:
    """Return a counter of totals alone: it sets no module hooks, which would outlive a counter that is never exited."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = NoModuleNames()  # type: ignore[assignment]
    return counter


class NoModuleNames:
    """Stands in for the counter's tracker of modules, whose hooks break gradients taken inside a backward pass."""

    parents = frozenset({"Global"})

    def __enter__(self) -> NoModuleNames:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@contextmanager
def without_fused_attention_layers() -> Iterator[None]:
    """Switch off torch's fused encoder and attention layers, whose work no counter sees."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _restored_functions() -> Iterator[None]:
    """Restore all functions that DeepSpeed's profiler patches; it does not when a forward pass raises."""
    import einops

    functional = {name: value for name, value in vars(nn.functional).items() if callable(value)}
    places: list[tuple[Any, dict[str, Any]]] = [
        (nn.functional, functional),
        (torch, {name: vars(torch)[name] for name in _PATCHED_IN_TORCH}),
        (Tensor, {name: vars(Tensor).get(name) for name in _PATCHED_IN_TENSOR}),
        (einops, {"einsum": einops.einsum}),
    ]

    try:
        yield
    finally:
        for place, names in places:
            for name, value in names.items():
                if value is not None:
                    setattr(place, name, value)
                elif name in vars(place):  # Tensor inherits it
                    delattr(place, name)
