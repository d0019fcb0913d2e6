"""`zoo`: run, pause and resume the trainings whose weights are committed."""

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


@app.command(epilog="Example: oneclock zoo train unet-16")
def train(
    names: Annotated[list[str] | None, typer.Argument(help="Trainings of the list; all by default.")] = None,
    results: Results = RESULTS,
) -> None:
    """Run what is unfinished of methods/networks/zoo/trainings.toml, two at a time, at lowest priority."""
    from harness.zoo.processes import run_trainings

    run_trainings(results, names or [])


@app.command(epilog="Example: oneclock zoo pause")
def pause(results: Results = RESULTS) -> None:
    """Stop all trainings where they are, as while something is timed."""
    from harness.zoo.processes import pause

    _tell("paused", pause(results))


@app.command(epilog="Example: oneclock zoo resume")
def resume(results: Results = RESULTS) -> None:
    """Let paused trainings go on."""
    from harness.zoo.processes import resume

    _tell("resumed", resume(results))


def _tell(verb: str, names: list[str]) -> None:
    typer.echo(f"{verb}: {', '.join(names) or 'none was running'}")
