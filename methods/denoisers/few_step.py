"""The whole network, tuned at the levels that the trial visits.

Phase 2 of our reconstruction of Huang 2024, "Optimizing Few-Step Sampler for Diffusion
Probabilistic Model" (arXiv:2412.10786), of which only the abstract was available. See
methods/tuning/level_tuning; its target, the frozen network's own trajectories, is ours. A schedule
that alternated both phases has tuned weights, and those are used. A trial evaluates its network at
its levels alone, so a worse network between them has no effect.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from methods.denoisers.full import Full
from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, BuiltDenoiser, Method, PrepareContext, Solver
from methods.tuning.level_tuning import LevelTuningParams, tune_at, untunable_at_levels, weights_among


class FewStepDenoiser(Full):
    """The full network with weights for one schedule."""

    name = "few-step"
    summary = "the whole network tuned at the schedule's levels: phase 2 of the reconstruction of Huang 2024"
    method_family = "few-step"
    claim = (
        "The abstract says that it consistently improves the baseline at various numbers of steps on ImageNet 64x64; "
        "no figure of the paper was found."
    )
    prepares = True
    own_flow = True
    learns_from_images = True
    sampling_only = ("compiled",)

    class Params(LevelTuningParams, Full.Params):
        pass

    @property
    def train_batch(self) -> int | None:  # type: ignore[override]
        return int(self.params.tune_batch) if self.params.tune_steps > 0 else None

    @property
    def prepares_for(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("steps", "schedule", *(["solver"] if self._follows else []))

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        why = super().refusal(parts, steps, network) or untunable_at_levels(network) or self._unread(parts)
        solver = parts.get("solver")
        if why is None and self._follows and isinstance(solver, Solver) and solver.stochastic:
            return (
                f'solver "{solver.name}" draws noise and follows no trajectory; give tune_objective = "data" or take '
                "a deterministic solver"
            )
        return why

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return network.fixed_cost

    def prepare(self, context: PrepareContext) -> Artifact:
        """Return the weights, under their names in the network."""
        left = context.prepared("schedule")
        if left is not None and (tuned := weights_among(left.tensors)):
            return Artifact(tuned, {"tuned_by": "schedule"})
        weights, facts = tune_at(context, context.levels(), self.params)
        return Artifact(weights, {"tuned_by": "denoiser", **facts})

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert artifact is not None
        tuned = copy.deepcopy(network)
        tuned.load_state_dict(dict(artifact.tensors))
        return super().build(tuned.requires_grad_(False).eval())

    @property
    def _follows(self) -> bool:
        return bool(self.params.tune_objective == "trajectory")

    def _unread(self, parts: Mapping[str, Method]) -> str | None:
        """Return why a parameter is refused that has no effect, or None.

        The schedule may tune the network itself.
        """
        schedule = parts.get("schedule")
        if schedule is None or getattr(schedule.params, "rounds", 1) < 2:
            return str(why) if (why := self.params.unread()) else None

        # the schedule tunes
        fields = LevelTuningParams.model_fields
        given = [name for name, field in fields.items() if getattr(self.params, name) != field.default]
        if not given:
            return None
        return f'schedule "{schedule.name}" of several rounds tunes the network itself; give {", ".join(given)} to it'
