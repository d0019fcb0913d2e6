"""What the grids of whole steps of a table share: its betas, the networks that fit, and where a trajectory begins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from methods.networks.base import NetworkParams
from methods.networks.preconditioned import BetaParams, PreconditionedParams
from methods.networks.vp_process import DiscreteBeta
from methods.parts import Method, Schedule, ScheduleParams


class TableSteps(Schedule):
    """Levels at whole steps of a discrete process, where its networks were trained."""

    own_ends = True
    check_params: ClassVar[Mapping[str, Any]] = {"betas": {"end": 0.012}}  # ends inside of the range of digits

    class Params(ScheduleParams):
        betas: BetaParams = BetaParams()
        """The table; by default DDPM's."""

    def initial_scale(self, levels: np.ndarray) -> float:
        """Return sqrt(1 + sigma^2): unit noise in the process's own coordinates, as the authors begin."""
        return math.sqrt(1 + float(levels[0]) ** 2)

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        """Refuse a network that was trained on the steps of another table.

        One that was trained on all levels has no steps, and fits.
        """
        table = network.table if isinstance(network, PreconditionedParams) else None
        if table is not None and table != self.params.betas.table():
            return f"the network was trained on the steps of other betas ({table}); give those as betas"
        return None

    def levels_of(self, taus: Sequence[int], steps: int) -> np.ndarray:
        """Return the levels of rising steps of the table, the highest first, repeated steps once.

        Raises ValueError where they are not `steps` + 1.
        """
        distinct = sorted(set(taus), reverse=True)
        if len(distinct) != steps + 1:
            raise ValueError(
                f"{len(taus)} points on {self.params.betas.steps} steps give {len(distinct)} distinct levels, but "
                f"{steps} steps need {steps + 1}; give points = {len(taus)} and steps = {len(distinct) - 1}, or fewer"
            )
        return np.asarray(DiscreteBeta(self.params.betas.table()).step_levels(distinct).numpy(), dtype=np.float64)
