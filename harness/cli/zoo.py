"""The verb `zoo`: run, pause and resume the trainings whose weights are committed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="zoo",
    help="Run, pause and resume the trainings of the zoo.",
    no_args_is_help=True,
    epilog="Example: oneclock zoo train unet-16",
)
Results = Annotated[Path, typer.Option(help="Folder that holds the trainings' working state.")]
RESULTS = Path("results")


@app.command("train", epilog="Example: oneclock zoo train unet-16 slim-16-seed1")
def train_listed(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Networks, each with all its seeds, or single trainings NETWORK-seedN; all by default."),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Run unfinished trainings, two at a time.

    They are listed in methods/networks/zoo/trainings.toml.
    """
    from harness.zoo.processes import run_trainings

    run_trainings(results, names or [])


@app.command("pause", epilog="Example: oneclock zoo pause")
def pause_all(results: Results = RESULTS) -> None:
    """Stop all trainings where they are.

    For example while something is timed.
    """
    from harness.zoo.processes import pause_trainings

    _print_names("paused", pause_trainings(results), "none was running")


@app.command("resume", epilog="Example: oneclock zoo resume")
def resume_all(results: Results = RESULTS) -> None:
    """Let paused trainings go on."""
    from harness.zoo.processes import resume_trainings

    _print_names("resumed", resume_trainings(results), "none was paused")


def _print_names(verb: str, names: list[str], otherwise: str) -> None:
    """Print the names after the verb; `otherwise` where there are none."""
    typer.echo(f"{verb}: {', '.join(names) or otherwise}")
