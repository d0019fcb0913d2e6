"""The verb `zoo`: run, pause and resume the trainings whose weights are committed; keep preparations."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.verbs.options import RESULTS

app = typer.Typer(
    name="zoo",
    help="Run the trainings of the zoo; keep preparations in it.",
    no_args_is_help=True,
    epilog="Example: oneclock zoo train unet-16",
)
Results = Annotated[Path, typer.Option(help="Folder that holds the trainings' working state.")]


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


@app.command("keep", epilog="Example: oneclock zoo keep mine.toml --only '*early-exit*' --as unet-16-early-exit")
def keep_prepared(
    suite: Annotated[str, typer.Argument(help="The suite whose run made the preparation.")],
    only: Annotated[str, typer.Option(help="Its trials, by the names that tables print.")],
    name: Annotated[str, typer.Option("--as", help="The name in the zoo; a further training's ends in -seedK.")],
    part: Annotated[str, typer.Option(help="The part that was prepared.")] = "denoiser",
    results: Results = RESULTS,
) -> None:
    """Store a finished preparation.

    Suites name it as artifact = "zoo:NAME".
    """
    from harness import api
    from harness.zoo.kept_preparations import keep_preparations

    command = shlex.join(["oneclock", "zoo", "keep", suite, "--only", only, "--as", name, "--part", part])
    plan = api.plan(suite, only=only)
    for folder in keep_preparations(plan, name, part, f"oneclock run {suite}; {command}", results):
        typer.echo(folder)


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
