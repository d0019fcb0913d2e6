"""The verbs of `new`: one function each, without logic."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="new",
    help="Write a method, a data set card or a suite that works. Says what to do next and overwrites nothing.",
    no_args_is_help=True,
    epilog="Example: oneclock new solver my-euler",
)
Name = Annotated[str, typer.Argument(help="Its name in suites and tables, such as my-euler; becomes a folder.")]


@app.command("solver", epilog="Example: oneclock new solver my-euler")
def create_solver(name: Name) -> None:
    """Write a package with a solver: how one step is taken."""
    _create("solver", name)


@app.command("schedule", epilog="Example: oneclock new schedule my-levels")
def create_schedule(name: Name) -> None:
    """Write a package with a schedule: which noise levels are visited."""
    _create("schedule", name)


@app.command("denoiser", epilog="Example: oneclock new denoiser my-cache")
def create_denoiser(name: Name) -> None:
    """Write a package with a denoiser: how much of the network runs."""
    _create("denoiser", name)


@app.command("executor", epilog="Example: oneclock new executor my-order")
def create_executor(name: Name) -> None:
    """Write a package with an executor: in which order the steps run."""
    _create("executor", name)


@app.command("dataset", epilog="Example: oneclock new dataset ./pictures --name flowers")
def create_dataset(
    folder: Annotated[
        Path, typer.Argument(help="A folder of PNG, JPEG, WebP, BMP or TIFF pictures; sub-folders count.")
    ],
    name: Annotated[str | None, typer.Option(help="The data set's name; the folder's by default.")] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Pixels a side; larger pictures are cropped to their centre and averaged.")
    ] = None,
) -> None:
    """Look at a folder of pictures and write the card of a data set."""
    from harness.cli.new.dataset import create_card

    _print(create_card(folder, name, resolution))


@app.command("suite", epilog="Example: oneclock new suite mine --dataset digits --methods dpmpp-2m,unipc --vs ddim")
def create_suite(
    name: Annotated[str, typer.Argument(help="The suite's name; it is written to NAME.toml.")],
    dataset: Annotated[str, typer.Option(help="A data set's name (see `oneclock ls datasets`) or card.")],
    methods: Annotated[str, typer.Option(help="Methods, with commas: names, or as tables have them: ddim@cosine.")],
    vs: Annotated[str, typer.Option(help="The baseline of every speed-up.")] = "ddim",
    network: Annotated[
        str | None, typer.Option(help="A network of the zoo or a card; the fitting one by default.")
    ] = None,
) -> None:
    """Write a suite of methods and their baseline.

    The baseline at several steps, methods at fewer, and a network and a feature network that fit.
    """
    from harness.cli.new.suite import write_suite

    _print(write_suite(name, dataset, methods, vs, network))


@app.command("cluster", epilog="Example: oneclock new cluster slurm --nodes 4 --gpus 8 --suite cifar10")
def create_cluster(
    kind: Annotated[str, typer.Argument(help="kuberay, ray-up or slurm; becomes the folder cluster-KIND.")],
    suite: Annotated[str, typer.Option(help="A suite that ships with the project.")] = "quick",
    nodes: Annotated[int, typer.Option(help="Nodes that work.")] = 2,
    gpus: Annotated[int, typer.Option(help="GPUs of each node; 0: its cores work.")] = 8,
    cpus: Annotated[int, typer.Option(help="Cores of each node.")] = 16,
    image: Annotated[str, typer.Option(help="The image's name in a registry.")] = "oneclock:latest",
) -> None:
    """Write a file that runs a suite on a cluster.

    A RayJob, a file of `ray up` or a batch script, with its Dockerfile.
    """
    from harness.cli.new.cluster import write_cluster

    _print(write_cluster(kind, suite, nodes, gpus, cpus, image))


def _create(part: str, name: str) -> None:
    from harness.cli.new.method import create_method

    _print(create_method(part, name))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
