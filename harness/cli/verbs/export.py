"""The verb `export`: measured schedules, images and timings in the formats of other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="export",
    help="Print what was measured in the formats of other programs.",
    epilog="Example: oneclock export schedule unet-16:ddim@few-step-5",
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


@app.command(epilog="Example: oneclock export schedule unet-16:dpmpp-2m-10 --results results/quick --format json")
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


Rows = Annotated[
    list[str] | None,
    typer.Argument(help="Rows by name, NETWORK:METHOD-STEPS or a part of it, or 4 or more digits of an id; else all."),
]
Results = Annotated[Path, typer.Option(help="Results folder of one suite.")]


@app.command(epilog="Example: oneclock export images unet-16:ddim-10 --to pictures")
def images(
    to: Annotated[Path, typer.Option(help="A new folder.")],
    trials: Rows = None,
    results: Results = Path("results/quick"),
    grid: Annotated[bool, typer.Option("--grid", help="One file per trial, all its pictures side by side.")] = False,
) -> None:
    """Write the images that are kept of rows, as PNG.

    A results folder keeps the first images of each trial. A file per image, at its own size.
    """
    from harness.cli.export_images import export_images

    for path in export_images(results, trials or [], to, grid):
        typer.echo(path)


@app.command(epilog="Example: oneclock export timings --results results/quick --out timings.parquet")
def timings(
    trials: Rows = None,
    results: Results = Path("results/quick"),
    out: Annotated[Path | None, typer.Option(help="A file .csv or .parquet; else CSV is printed.")] = None,
) -> None:
    """Print every timed call, a line each.

    With its row, block, round, batch, seconds and device.
    """
    from harness.cli.export_timings import timing_lines, write_timings

    typer.echo(write_timings(timing_lines(results, trials or []), out))
