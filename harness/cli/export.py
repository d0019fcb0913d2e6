"""The verb `export`: measured schedules in the formats of other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="export",
    help="Print what was measured in the formats of other programs.",
    epilog="Example: oneclock export schedule unet-8:ddim@few-step-5",
    no_args_is_help=True,
)


class Format(StrEnum):
    """What `export schedule` can print."""

    diffusers = "diffusers"
    json = "json"


class Betas(StrEnum):
    """The beta schedules of diffusers."""

    linear = "linear"
    scaled_linear = "scaled_linear"
    squaredcos_cap_v2 = "squaredcos_cap_v2"


@app.callback()
def export() -> None:
    """Print what was measured in the formats of other programs."""


@app.command(epilog="Example: oneclock export schedule unet-8:dpmpp-2m-10 --results results/quick --format json")
def schedule(
    trial: Annotated[
        str,
        typer.Argument(help="As tables name it, NETWORK:METHOD-STEPS, or METHOD-STEPS; or its id, 4 or more digits."),
    ],
    results: Annotated[Path, typer.Option(help="Results folder of one suite.")] = Path("results/quick"),
    form: Annotated[Format, typer.Option("--format", help="Python for diffusers, or all numbers.")] = Format.diffusers,
    beta_schedule: Annotated[Betas, typer.Option(help="The network's betas, for timesteps.")] = Betas.linear,
    train_steps: Annotated[int, typer.Option(help="Its training steps, for timesteps.")] = 1000,
) -> None:
    """Print the noise levels of a measured trial.

    With the nearest integer timesteps, and the cost of rounding.
    """
    from harness import api
    from harness.report.export import export_schedule

    tables = api.load(results)
    exported = export_schedule(tables.trials, tables.steps, trial, beta_schedule.value, train_steps)
    for problem in tables.damage:
        typer.echo(f"oneclock: {problem}", err=True)
    typer.echo(exported.as_json() if form is Format.json else exported.as_snippet())
