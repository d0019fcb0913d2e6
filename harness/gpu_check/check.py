"""The check of a GPU machine: its parts one after the other, each kept as it ends, and the page after each.

The timed parts come before the trainings, and nothing of the check runs at the same time as they do.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from harness.gpu_check.findings import findings_page
from harness.gpu_check.machine import describe_machine
from harness.gpu_check.marked_tests import run_marked_tests
from harness.gpu_check.network_calls import run_network_calls
from harness.gpu_check.parts import FILE, Findings, choose_parts, load_findings
from harness.gpu_check.scale import CheckScale
from harness.gpu_check.suite_modes import MODES, run_suite_in_mode
from harness.gpu_check.trainings import run_check_trainings
from harness.source_tree import ROOT
from harness.storage.disk import replace

PAGE = "findings.md"
_LOG = logging.getLogger("oneclock.gpu_check.check")


def run_gpu_check(
    folder: Path, scale: CheckScale, only: str | None, training_seconds: float | None, again: bool
) -> Findings:
    """Run the parts that are wanted and not done, and write findings and page after each."""
    parts = choose_parts(only)
    folder.mkdir(parents=True, exist_ok=True)
    findings = load_findings(folder, describe_machine(scale.device), scale.device)
    seconds = scale.training_seconds if training_seconds is None else training_seconds
    _keep(folder, findings, scale)

    for part in parts:
        if findings.is_done(part) and not again:
            _LOG.info("%s: done before", part)
            continue
        _LOG.info("%s: begins", part)
        findings = _run_part(part, folder, scale, seconds, findings)
        _keep(folder, findings, scale)
        _LOG.info("%s: %s", part, _describe_ends(findings, part))
    return findings


def _run_part(part: str, folder: Path, scale: CheckScale, training_seconds: float, findings: Findings) -> Findings:
    """Return the findings with those of a part that has run."""
    environment = _environment(scale)
    if part == "tests":
        return findings.model_copy(update={"tests": run_marked_tests(folder, environment)})
    if part == "calls":
        return findings.model_copy(update={"calls": run_network_calls(folder, scale, environment)})
    if part == "trainings":
        trained = run_check_trainings(folder, scale, training_seconds, environment)
        return findings.model_copy(update={"trainings": trained})
    (mode,) = (one for one in MODES if one == part)
    modes = {**findings.modes, mode: run_suite_in_mode(mode, folder, scale, environment)}
    return findings.model_copy(update={"modes": modes})


def _environment(scale: CheckScale) -> dict[str, str]:
    """Return variables of the processes: this code, and no GPU in a rehearsal."""
    known = os.environ.get("PYTHONPATH", "")
    path = {"PYTHONPATH": os.pathsep.join([*([known] if known else []), str(ROOT)]), "PYTHONUNBUFFERED": "1"}
    return {**path, "CUDA_VISIBLE_DEVICES": ""} if scale.is_rehearsal else path


def _keep(folder: Path, findings: Findings, scale: CheckScale) -> None:
    replace(folder / FILE, findings.model_dump_json(indent=1).encode())
    replace(folder / PAGE, findings_page(findings, scale).encode())


def _describe_ends(findings: Findings, part: str) -> str:
    """Return how long a part took, and whether it came to its end."""
    ends = findings.ends(part) or []
    seconds = max((end.seconds for end in ends), default=0.0)
    over = "; stopped, since its time was over: the same command goes on" if any(e.is_over_time for e in ends) else ""
    codes = sorted({end.code for end in ends if end.code and not end.is_over_time})
    failed = f"; exit code {', '.join(map(str, codes))}, see logs" if codes else ""
    return f"{seconds:.0f} s{over}{failed}"
