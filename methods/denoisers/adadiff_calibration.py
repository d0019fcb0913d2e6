"""Predicted against true uncertainty of AdaDiff's heads, per noise level and block.

Measured on noises that tuning never draws. The images are training images: a preparation has no
others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.denoisers.adadiff_uncertainty import Uncertainty, every_exit, true_uncertainty
from methods.networks.blocks import BlockNetwork
from methods.networks.preconditioning import Draws
from methods.parts import PrepareContext

_PAIRS = 64  # images and noises


@torch.no_grad()
def calibration(
    network: BlockNetwork, heads: Uncertainty, levels: np.ndarray, context: PrepareContext
) -> list[dict[str, Any]]:
    """Return, for each level and block (counted from 1), the mean `predicted` uncertainty and the mean `true` one.

    Both are means over images, pixels and channels: of u = 1 - c, and of tanh|e - eps|, which u
    learns.
    """
    # the same pairs at all levels
    images, device = context.images(), next(network.parameters()).device
    clean = images[torch.arange(_PAIRS) * len(images) // _PAIRS].to(device)
    noise = torch.stack([context.noise(k) for k in range(_PAIRS)]).to(device)

    found = []
    for k in context.passes(len(levels)):
        sigma = torch.full((_PAIRS,), float(levels[k]), dtype=torch.float64)
        problem = network.regression(clean, Draws(sigma, noise))
        outputs, certainties = every_exit(network, heads, problem.scaled, problem.label)
        true = _means(true_uncertainty(outputs, problem.target, problem.in_noise))
        found += [
            {"sigma": float(levels[k]), "block": i + 1, "predicted": predicted, "true": true[i]}
            for i, predicted in enumerate(_means(1 - certainties))
        ]
    return found


def _means(values: Tensor) -> list[float]:
    return [float(mean) for mean in values.double().flatten(1).mean(1)]
