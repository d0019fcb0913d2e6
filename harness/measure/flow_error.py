"""How far final states are from a solution of the flow that is fine enough to tell a sample from a guess."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_STEPS, _RHO = 8, 7.0
"""Of Heun's method on levels uniform in sigma^(1/rho) (Karras et al. 2022, arXiv:2206.00364): some 5 % of error."""


@torch.inference_mode()
def flow_errors(
    estimate: Callable[[Tensor, Tensor], Tensor],
    initial: Tensor,
    final: Tensor,
    sigma_max: float,
    sigma_min: float,
    denoises_last: bool = False,
) -> list[float]:
    """Return, for each row, the relative distance of a final state to the solution from its initial one [n, ...].

    `estimate` is D(x; sigma) of states and levels [n]. With `denoises_last` that at sigma_min ends both.
    """
    x = initial
    u = torch.linspace(0, 1, _STEPS + 1, dtype=torch.float64)
    levels = ((1 - u) * sigma_max ** (1 / _RHO) + u * sigma_min ** (1 / _RHO)) ** _RHO

    def denoise(state: Tensor, sigma: float) -> Tensor:
        return estimate(state, torch.full((len(state),), sigma, dtype=torch.float64))

    def slope(state: Tensor, sigma: float) -> Tensor:
        return (state - denoise(state, sigma)) / sigma

    for s, s_next in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
        d = slope(x, s)
        x = x + (s_next - s) * (d + slope(x + (s_next - s) * d, s_next)) / 2
    x = denoise(x, sigma_min) if denoises_last else x
    x, final = x.double().flatten(1), final.double().flatten(1)
    return ((final - x).norm(dim=1) / x.norm(dim=1)).tolist()
