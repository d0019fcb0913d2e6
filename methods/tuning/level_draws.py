"""Noise levels of tuning: those that sampling visits, or those of the network's training.

A gate must be trained where it is evaluated: between sigma_min and sigma_max. Of the log-normal
levels of EDM's training hardly any lie near sigma_max. The authors' codes of AdaDiff, and of ASE
for DiT, draw t uniform as DDPM does, which hardly reaches sigma_min: of ten steps of EDM's grid
from 20 to 0.002, the lowest level's cell has 0.4 % of the draws. Uniform in ln sigma is the other
way round.
"""

from __future__ import annotations

from typing import Literal

import torch

from methods.networks.preconditioned import PreconditionedNetwork
from methods.networks.preconditioning import Draws
from methods.parts import PrepareContext
from methods.tuning.tune import TuningParams


class DrawnTuningParams(TuningParams):
    """How long and how fast a network is tuned, and at which levels."""

    tune_levels: Literal["mixed", "time", "training"] = "mixed"
    """mixed: between the data set's sigma_min and sigma_max, three quarters uniform in diffusion
    time, as in the papers' codes, and one quarter uniform in ln sigma.

    Time: all uniform in time. training: the network's own.
    """


_LOG_SHARES = {"mixed": 0.25, "time": 0.0}


class LevelDraws:
    """Levels between the ends of a context's range by `tune_levels`, with unit noise."""

    def __init__(self, network: PreconditionedNetwork, context: PrepareContext, params: DrawnTuningParams) -> None:
        self._network, self._kind = network, params.tune_levels
        self._ends = torch.tensor([context.sigma_min, context.sigma_max], dtype=torch.float64)

    def draws(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Return levels float32 [batch] and unit noise [shape]."""
        if self._kind == "training":
            return Draws(*self._network.draws(shape, generator))

        # between the ends, in time or in ln sigma
        uniform, choice = torch.rand((2, shape[0]), generator=generator, dtype=torch.float64)
        process = self._network.preconditioning
        (first, last), (low, high) = process.time(self._ends), self._ends.log()
        in_time, in_log = process.level(first.lerp(last, uniform)), low.lerp(high, uniform).exp()
        sigma = torch.where(choice < _LOG_SHARES[self._kind], in_log, in_time).clamp(*self._ends)
        return Draws(sigma.float(), torch.randn(shape, generator=generator))
