"""The Missing U at sampling time: solver, steps or tolerance of the ODE blocks, and what they cost.

Calvo-Ordonez et al. 2024 (arXiv 2310.20092). A continuous U-Net is trained with one solver of its blocks and may be
run with another. What is counted is what ran: evaluations of each block's f, and once everything between the blocks.
An adaptive solver takes one step size for a whole batch, so its counts, and its images, depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import Field
from torch import Tensor

from methods.networks.base import Network, NetworkParams
from methods.networks.continuous_unet import ContinuousUNet, ContinuousUNetParams
from methods.networks.ode_blocks import Derivative, Integration, OdeSolver, Tolerance, takes_fixed_steps
from methods.parts import Artifact, BuiltDenoiser, Denoiser, Method, Units
from methods.parts import Params as BaseParams


class MissingU(Denoiser):
    name = "missing-u"
    summary = "blocks solved as ODEs, with any solver, steps or tolerance: The Missing U (Calvo-Ordonez 2024)"
    families = ("continuous-unet",)

    class Params(BaseParams):
        ode_solver: OdeSolver | None = None
        """torchdiffeq's name; as trained if absent."""
        ode_steps: int | None = Field(default=None, ge=1)
        """Equal steps of a fixed-step solver through a block; as trained if absent."""
        tolerance: Tolerance | None = None
        """Error that an adaptive solver allows a step, absolute and relative; as trained if absent."""

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        assert isinstance(network, ContinuousUNetParams)  # the families say so
        try:
            self.integration(network)
        except ValueError as error:
            return str(error)
        return None

    def integration(self, network: ContinuousUNetParams) -> Integration:
        """Return how the blocks are solved; raise ValueError, in one sentence, if the parameters do not fit."""
        asked, trained = self.params, network.integration
        solver = asked.ode_solver or trained.solver
        kept = trained if trained.fixed_cost == takes_fixed_steps(solver) else None
        steps = asked.ode_steps or (kept.steps if kept else 1)
        tolerance = asked.tolerance if asked.tolerance is not None or kept is None else kept.tolerance
        return Integration(solver, steps, tolerance)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert isinstance(network, ContinuousUNet)
        return _Counted(network, self.integration(network.params))


class _Counted(BuiltDenoiser):
    """A continuous U-Net that says how often each f ran."""

    def __init__(self, network: ContinuousUNet, integration: Integration) -> None:
        self.network = network
        self.integration = integration

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        counts: dict[str, int] = {}

        def raw(scaled: Tensor, label: Tensor) -> Tensor:
            out, ran = self.network.raw_counted(scaled, label, self.integration)
            counts.update({f"f-{name}": evaluations for name, evaluations in ran.items()})
            return out

        return self.network.denoised(raw, x, sigma), {"frame": 1, **counts}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        def frame(scaled: Tensor, label: Tensor) -> Tensor:
            return self.network.raw_counted(scaled, label, _unchanged)[0]

        found: dict[str, Callable[[Tensor, Tensor], Any]] = {"frame": partial(self.network.denoised, frame)}
        for name in self.network.levels:
            found[f"f-{name}"] = partial(self._evaluate, name)
        return found

    def _evaluate(self, name: str, x: Tensor, sigma: Tensor) -> Tensor:
        return self.network.evaluate(name, x)


def _unchanged(derivative: Derivative, state: Tensor, learned: Sequence[Tensor] | None) -> tuple[Tensor, int]:
    """Stand in for a solver that never asks for the derivative."""
    return state, 0
