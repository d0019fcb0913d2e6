"""The Missing U at sampling time: solver, steps or tolerance of the ODE blocks, and what they cost.

Calvo-Ordonez et al. 2024, "The Missing U for Efficient Diffusion Models" (TMLR, arXiv:2310.20092).
A continuous U-Net is trained with one ODE solver in its blocks and may run with another. Counted
are the evaluations of each block's f that really ran, and once everything between the blocks. An
adaptive solver takes one step size for a whole batch, so its counts and its images depend on the
batch.
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
from methods.parts import Artifact, BuiltDenoiser, Denoiser, DenoiserParams, Method, Units


class MissingU(Denoiser):
    name = "missing-u"
    summary = "blocks solved as ODEs, with any solver, steps or tolerance: The Missing U (Calvo-Ordonez 2024)"
    method_family = "Missing U"
    claim = (
        "The paper reports about a quarter of the parameters and about 30 % of the FLOPs of the U-Net of DDPM, and "
        "fewer steps to a given quality."
    )
    families = ("continuous-unet",)

    class Params(DenoiserParams):
        ode_solver: OdeSolver | None = None
        """torchdiffeq's name; as trained if absent."""
        ode_steps: int | None = Field(default=None, ge=1)
        """Equal steps of a fixed-step solver through a block; as trained if absent."""
        tolerance: Tolerance | None = None
        """Error that an adaptive solver allows a step, absolute and relative.

        As trained if absent.
        """

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        assert isinstance(network, ContinuousUNetParams)  # `families` admits no other
        try:
            self.integration(network)
        except ValueError as error:
            return str(error)
        return None

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        assert isinstance(network, ContinuousUNetParams)
        return self.integration(network).fixed_cost

    def integration(self, network: ContinuousUNetParams) -> Integration:
        """Return how the blocks are solved.

        Raises ValueError, in one sentence, if the parameters do not fit.
        """
        given, trained = self.params, network.integration
        solver = given.ode_solver or trained.solver
        kept = trained if trained.fixed_cost == takes_fixed_steps(solver) else None
        steps = given.ode_steps or (kept.steps if kept else 1)
        tolerance = given.tolerance if given.tolerance is not None or kept is None else kept.tolerance
        return Integration(solver, steps, tolerance)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert isinstance(network, ContinuousUNet)
        return _Counted(network, self.integration(network.params))


class _Counted(BuiltDenoiser):
    """A continuous U-Net that counts the evaluations of each f."""

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
    """Return the state unchanged, in place of a solver, without evaluating the derivative."""
    return state, 0
