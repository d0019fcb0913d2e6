"""The partner of a trial: the same sampler without acceleration, whose images its fidelity is measured against.

Partners are no rows: their images are made once for all trials that need them, and shared with a row of the suite that
has the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.config.fidelity_settings import FidelitySettings
from harness.errors import UsageError
from harness.identity import file_sha256
from harness.planning.absent import ABSENT, AbsentThings
from harness.planning.checks import check_compatible
from harness.planning.task_graph import TaskGraph
from harness.planning.trial import Trial, part_spec
from harness.registry import registry
from harness.specs.fidelity import BackboneSpec
from methods.parts import Denoiser, Method

_REPLACED = ("denoiser", "executor")
"""The parts that a partner has plain ones of; schedule and solver stay, with their preparations."""
_OWN = "own"


@dataclass(frozen=True)
class Partner:
    """What a trial's images are compared with; a trial, or why there is none."""

    trial: Trial | None
    reason: str = ""


class Partners:
    """The partners of a suite's trials, and the tasks that compare their images.

    Make it before any images are planned: those that are compared are kept until they have been.
    """

    def __init__(
        self, trials: Sequence[Trial], settings: FidelitySettings, graph: TaskGraph, absent: AbsentThings
    ) -> None:
        unmeasured = Partner(None, "the suite measures no fidelity")
        self._graph = graph
        self._backbone = None if settings.lpips_backbone is None else _backbone(Path(settings.lpips_backbone), absent)
        self._found = {id(trial): find_partner(trial) if settings.measure else unmeasured for trial in trials}
        for trial in trials:
            partner = self._found[id(trial)].trial
            for one in (trial, partner) if partner is not None else ():
                graph.keep_images(one)

    def row_fields(self, trial: Trial) -> dict[str, Any]:
        """Return the fields of a trial's row that say what its images are compared with; adds the task that does."""
        partner = self._found[id(trial)]
        if partner.trial is None:
            return {"no_partner": partner.reason}
        return {
            "fidelity_id": self._graph.fidelity_task(trial, partner.trial, self._backbone).id,
            "partner": partner.trial.printed_name,
            "backbone_sha256": None if self._backbone is None else self._backbone.sha256,
        }


def find_partner(trial: Trial) -> Partner:
    """Return the trial of the same noise, trained network, schedule, solver and steps, without acceleration.

    It runs the whole network before any tuning, under the same guidance, one step after the other.
    """
    if _OWN in (trial.parts["solver"].name, trial.parts["denoiser"].name):
        return Partner(None, "a wrapped sampler's steps and noise are its own")
    parts = _plain_parts(trial)
    if all(_is_same(parts[name], trial.parts[name]) for name in _REPLACED):
        return Partner(None, "this is the run without acceleration")

    try:
        check_compatible(parts, trial.network, trial.steps)
    except UsageError as error:
        why = str(error).replace(";", ",")  # a semicolon parts the reasons of a row
        return Partner(None, f"the run without acceleration is refused: {why}")
    kept = {name: task_id for name, task_id in trial.artifact_ids.items() if name not in _REPLACED}
    stored = {name: reference for name, reference in trial.stored.items() if name not in _REPLACED}
    plain = replace(trial, parts=parts, artifact_ids=kept, stored=stored, label=None, control_of=(), optional=False)
    return Partner(plain)


def _plain_parts(trial: Trial) -> dict[str, Method]:
    """Return the four parts with the whole network under the trial's guidance and the serial executor."""
    denoiser = trial.parts["denoiser"]
    assert isinstance(denoiser, Denoiser)
    guidance = denoiser.guidance.model_dump()
    plain = {
        "denoiser": registry().make("denoiser", "full", guidance),
        "executor": registry().make("executor", "serial", {}),
    }
    return {**trial.parts, **plain}


def _is_same(one: Method, other: Method) -> bool:
    return part_spec(one) == part_spec(other)


def _backbone(path: Path, absent: AbsentThings) -> BackboneSpec:
    """Return the spec of AlexNet's file; UsageError where it is none, or is not there and may not be absent."""
    if not path.is_file():
        error = UsageError(f"fidelity.lpips_backbone {path} does not exist; expected the file of torchvision's AlexNet")
        absent.add(error, ", so set fidelity.lpips_backbone to its path, or remove it")
        return BackboneSpec(path=str(path), sha256=ABSENT)

    from harness.metrics.lpips import read_backbone

    read_backbone(path)
    return BackboneSpec(path=str(path), sha256=file_sha256(path))
