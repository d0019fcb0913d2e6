"""Small U-ViTs and DiTs, AdaDiff's gates over them, and what those gates should decide."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from harness.measure.flops import count_flops
from methods.denoisers.adadiff import AdaDiff
from methods.denoisers.adadiff_uncertainty import Uncertainty, every_exit
from methods.networks.base import DataShape
from methods.networks.blocks import BlockNetwork
from methods.networks.dit import DiT, DiTParams
from methods.networks.uvit import UViT, UViTParams
from methods.parts import Artifact, BuiltDenoiser, Units

FAMILIES = {"uvit": (UViT, UViTParams), "dit": (DiT, DiTParams)}
SIGMA = torch.logspace(-1.5, 0.8, 8, dtype=torch.float64)
"""One level per row."""


def lively(family: str, **changes: Any) -> BlockNetwork:
    """Return an untrained network of 7 blocks (U-ViT) or 6 in which every weight matters; equal ones for all calls."""
    made, params = FAMILIES[family]
    network = made(params(**{"depth": 6, "width": 16, "heads": 2, "patch": 2, **changes}), DataShape(1, 8))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            of_class = name in ("label_emb.weight", "y_embedder.embedding_table.weight")
            parameter.copy_((1.0 if of_class else 0.2) * drawn + float("norm" in name and name.endswith("weight")))
    return network.eval().requires_grad_(False)


@torch.no_grad()
def tuned(network: BlockNetwork, concat: bool = False) -> Artifact:
    """Return the network's own weights, and heads that find later blocks a little better but differ by row more."""
    heads, weight = Uncertainty(network, concat), next(network.parameters())
    generator = torch.Generator().manual_seed(2)
    for parameter in heads.parameters():
        parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator) if parameter.ndim == 2 else parameter)
    heads = heads.to(weight.dtype)
    logits = _certainties(network, heads, states(weight.dtype)).logit()
    for i, head in enumerate(heads.heads):
        head.bias.fill_(0.22 * i - float(logits[i].mean()))
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    return Artifact(tensors | {f"heads.{name}": value for name, value in heads.state_dict().items()})


def gate(network: BlockNetwork, artifact: Artifact | None = None, **params: Any) -> BuiltDenoiser:
    """Return the denoiser, over random heads unless an artifact is given."""
    method = AdaDiff(**params)
    return method.build(network, artifact or tuned(network, method.params.uncertainty_time == "concat"))


def states(dtype: torch.dtype = torch.float64) -> Tensor:
    """Return a state for each of SIGMA, each image with noise of its own."""
    rows = [torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(8)]
    return (torch.stack(rows) * (SIGMA**2 + 0.25).sqrt().reshape(-1, 1, 1, 1)).to(dtype)


def depths(units: Units) -> Tensor:
    """Return where each row left; every row left once."""
    counts = {int(name.removeprefix("exit-")): torch.as_tensor(n).expand(len(SIGMA)) for name, n in units.items()}
    assert torch.equal(sum(counts.values()), torch.ones(len(SIGMA)).long())
    return sum(depth * count for depth, count in counts.items())


@torch.no_grad()
def uncertainties(network: BlockNetwork, x: Tensor) -> Tensor:
    """Return u after every block but the last [rows, blocks - 1], read off without a gate."""
    heads = Uncertainty(network, False).to(x.dtype)
    heads.load_state_dict({k[6:]: v for k, v in tuned(network).tensors.items() if k.startswith("heads.")})
    return 1 - _certainties(network, heads, x)[:-1].flatten(2).mean(2).T


def first_under(u: Tensor, theta: float) -> Tensor:
    """Return the first block, counted from 1, whose u is under theta, else the last; u [rows, blocks - 1]."""
    return torch.tensor([next((i for i, v in enumerate(row, 1) if v < theta), len(row) + 1) for row in u.tolist()])


def thetas(network: BlockNetwork, x: Tensor, count: int = 5) -> list[float]:
    """Return about `count` thresholds between the uncertainties met, all at least 1e-4 from any of them."""
    met = uncertainties(network, x).flatten().sort().values
    between = [(a + b) / 2 for a, b in pairwise(met.tolist()) if b - a > 2e-4]
    return between[:: max(1, len(between) // count)]


def work(denoiser: BuiltDenoiser, x: Tensor, sigma: Tensor) -> tuple[int, int]:
    """Return the FLOPs of one call as counted, and as the sum of its units."""
    found: list[Units] = []
    counted = count_flops(lambda: found.append(denoiser(x, sigma, 0)[1]))
    price = {name: count_flops(call, x[:1], sigma[:1]) for name, call in denoiser.units().items()}
    return counted, sum(int(torch.as_tensor(count).sum()) * price[name] for name, count in found[0].items())


def _certainties(network: BlockNetwork, heads: Uncertainty, x: Tensor) -> Tensor:
    c = network.preconditioning.coefficients(SIGMA)
    scaled = (c.scale.reshape(-1, 1, 1, 1) * x).to(x.dtype)
    return every_exit(network, heads, scaled, c.noise.to(x.dtype))[1]
