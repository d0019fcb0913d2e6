"""The verb `gpu-check`: chooses the scale by the device, runs the parts, prints what failed and where the page is."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch
import typer

from harness.gpu_check.check import PAGE, run_gpu_check
from harness.gpu_check.findings import list_problems
from harness.gpu_check.scale import choose_scale
from harness.storage.run_log import StderrHandler, handler_attached


def check_gpu_machine(
    results: Path, device: str | None, only: str | None, training_minutes: float | None, again: bool
) -> bool:
    """Run the check and print its end; return whether nothing failed and no part is left."""
    scale = choose_scale(device, torch.cuda.is_available())
    if scale.is_rehearsal:
        print("no GPU is used: this rehearses the check on a CPU, with small numbers", file=sys.stderr)
    seconds = None if training_minutes is None else 60 * training_minutes
    with handler_attached(StderrHandler(logging.INFO)):
        findings = run_gpu_check(results, scale, only, seconds, again)

    problems = list_problems(findings)
    for sentence in problems:
        typer.echo(sentence)
    typer.echo(f"findings: {results / PAGE}")
    return not problems
