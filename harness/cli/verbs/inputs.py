"""The verbs about what runs read: lists of it, trainings, statistics, published files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.verbs.options import RESULTS, Address, Device, Gpus, Results, Settings
from harness.errors import UsageError, did_you_mean
from harness.pools.device_choice import DeviceChoice

app = typer.Typer()


class Listed(StrEnum):
    """What `ls` can list."""

    methods = "methods"
    datasets = "datasets"
    suites = "suites"
    networks = "networks"
    extractors = "extractors"
    zoo = "zoo"
    fetch = "fetch"
    results = "results"


@app.command("ls", epilog="Example: oneclock ls methods")
def list_one_kind(
    what: Annotated[str, typer.Argument(metavar=f"[{'|'.join(Listed)}]", help="What to list.")],
    details: Annotated[
        bool,
        typer.Option(
            "-v", "--verbose", help="A further line each: parameters, or verdicts, device, commit, dates, size."
        ),
    ] = False,
    results: Results = RESULTS,
) -> None:
    """List what there is, one line each.

    Results are those below --results; with -v each item has a further line.
    """
    from harness.cli.listing import list_lines
    from harness.cli.listing_details import add_details
    from harness.cli.listing_results import stored_folder_lines

    if what not in set(Listed):
        raise UsageError(f'"{what}" is nothing that can be listed{did_you_mean(what, Listed)}')
    if what == Listed.results:
        lines = stored_folder_lines(results, details)
    else:
        lines = add_details(what, list_lines(what)) if details else list_lines(what)
    for line in lines:
        typer.echo(line)


class Into(StrEnum):
    """Where `train` can put a network permanently."""

    zoo = "zoo"


@app.command("train", epilog="Example: oneclock train digits unet-8 --into zoo")
def train_one(
    dataset: Annotated[str, typer.Argument(help="A data set's name or card.")],
    network: Annotated[str, typer.Argument(help="A network's name or card.")],
    address: Address = None,
    results: Results = RESULTS,
    settings: Settings = None,
    gpus: Gpus = None,
    device: Device = None,
    into: Annotated[
        Into | None,
        typer.Option(
            help="zoo: train in this process until held-out loss stops falling, and keep weights and card in "
            "methods/networks/zoo; continues where it was stopped."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="With --into zoo: stop after so long, with the best weights so far.")
    ] = None,
) -> None:
    """Train a network on a data set, once for every suite.

    Prints where its weights are.
    """
    if into is Into.zoo:
        from harness.zoo.run import train_into_zoo

        if address or gpus is not None or device is not None:
            raise UsageError("--into zoo trains in this process; expected no --address, --gpus or --device")
        typer.echo(train_into_zoo(dataset, network, settings or [], results, minutes))
        return
    if minutes is not None:
        raise UsageError("--minutes is of trainings for the zoo; expected --into zoo too, or train.steps by --set")

    from harness.cli.train import train_network

    typer.echo(train_network(dataset, network, settings or [], address, results, DeviceChoice(gpus, device)))


class IntoDatasets(StrEnum):
    """Where `reference` can put what runs take in place of pictures."""

    datasets = "datasets"


@app.command("reference", epilog="Example: oneclock reference digits --out digits.npz")
def write_one_reference(
    dataset: Annotated[str, typer.Argument(help="A data set's name or card.")],
    out: Annotated[
        Path | None, typer.Option(help="The npz to write; a suite names it as reference.statistics.")
    ] = None,
    extractor: Annotated[
        str | None,
        typer.Option(help="Feature network, or NAME:PATH with its weights; the shipped one that fits by default."),
    ] = None,
    into: Annotated[
        IntoDatasets | None,
        typer.Option(help="datasets: the file that every run on the data set takes where its pictures are absent."),
    ] = None,
) -> None:
    """Write the statistics of a data set's reference split.

    A suite takes the file in place of pictures: reference = { statistics = "FILE" }.
    """
    from harness.cli.reference import write_reference, write_shipped

    if (out is None) == (into is None):
        raise UsageError("expected either --out FILE.npz or --into datasets, which says where the statistics go")
    typer.echo(write_shipped(dataset, extractor) if out is None else write_reference(dataset, out, extractor))


@app.command("fetch", epilog="Example: oneclock fetch inception cifar10")
def fetch_files(
    names: Annotated[list[str] | None, typer.Argument(help="What to fetch, by name (see `oneclock ls fetch`).")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List what can be fetched, with licence and place.")] = False,
) -> None:
    """Fetch published files by name, verified.

    Data sets, feature networks, networks and statistics. They go to the folder ONECLOCK_CACHE and are found there by
    suites. A transfer that broke off goes on where it stopped. Proxies are those of the environment.
    """
    from harness.cli.fetch import fetch_named
    from harness.cli.listing import list_lines

    for line in list_lines("fetch") if listed else fetch_named(names or []):
        typer.echo(line)
