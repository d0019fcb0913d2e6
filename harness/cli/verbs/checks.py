"""The verbs that check: a method, a GPU machine, a source tree, this machine with its results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.verbs.options import RESULTS, Address, Settings

app = typer.Typer()


@app.command("check", epilog="Example: oneclock check my-euler --set momentum=0.4")
def check_one_method(
    method: Annotated[str, typer.Argument(help="A method's name, or PART/NAME where two parts have one of that name.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="Set one of its parameters: KEY=VALUE.")] = None,
    network: Annotated[
        str | None, typer.Option(help="A network of the zoo (see `oneclock ls zoo`); the first that fits by default.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the images that are made.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for CI.")] = False,
) -> None:
    """Check one method against its contract and all rules.

    Its part's contract, its order, images made again, and the rules of every run. Exit code 1 if one fails."""
    from harness.cli.check import check_method

    if not check_method(method, settings or [], network, steps, as_json):
        raise typer.Exit(1)


@app.command("gpu-check", epilog="Example: oneclock gpu-check --training-minutes 4")
def check_gpu(
    results: Annotated[Path, typer.Option(help="Folder of the page, its parts, runs and weights.")] = RESULTS
    / "gpu-check",
    device: Annotated[
        str | None, typer.Option(help="cuda, or cpu to rehearse; by default a GPU where there is one.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Parts with commas: tests, calls, reproducible, deployed, trainings.")
    ] = None,
    training_minutes: Annotated[float | None, typer.Option(min=0, help="How long the zoo's trainings go on.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also do parts that are done.")] = False,
) -> None:
    """Check a GPU machine in one command.

    Tests, kernels, both modes of timing and trainings, with one page of findings. A part that is done is not done
    again, so a call that was stopped goes on. Exit code 1 if a part has a problem."""
    from harness.cli.gpu_check import check_gpu_machine

    if not check_gpu_machine(results, device, only, training_minutes, again):
        raise typer.Exit(1)


@app.command("release-check", epilog="Example: oneclock release-check --only version,changelog,citation,reference")
def check_before_release(
    only: Annotated[
        str | None,
        typer.Option(help="Parts with commas: version, changelog, citation, tree, reference, wheel, install, run."),
    ] = None,
    suite: Annotated[str, typer.Option(help="What the installed wheel runs.")] = "quick",
    settings: Settings = None,
    in_process: Annotated[bool, typer.Option("--in-process", help="Run it without Ray.")] = False,
) -> None:
    """Check a source tree before its version is tagged.

    Version, changelog, citation; that the reference runs are of this code; that a wheel has all files, installs in
    an empty environment and runs a suite there. A line each, with what to do. Exit code 1 if one fails."""
    from harness.cli.release_check import check_this_release

    options = [word for setting in settings or [] for word in ("--set", setting)]
    if not check_this_release(only, suite, [*options, *(["--in-process"] if in_process else [])]):
        raise typer.Exit(1)


@app.command(epilog="Example: oneclock doctor results --fix")
def doctor(
    results: Annotated[Path, typer.Argument(help="Folder that holds one folder per suite.")] = RESULTS,
    address: Address = None,
    fix: Annotated[bool, typer.Option("--fix", help="Move damaged and orphaned files to quarantine.")] = False,
) -> None:
    """Check this machine, this cluster and these results."""
    from harness.cli.doctor import examine

    findings = examine(results, address, fix)
    for finding in findings:
        typer.echo(finding.line())
    if any(f.damage for f in findings):
        raise typer.Exit(4)
    if any(f.bad for f in findings):
        raise typer.Exit(1)
