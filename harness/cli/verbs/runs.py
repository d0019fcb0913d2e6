"""The verbs that run suites: run, wrap, plan; and report, which ends a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.verbs.options import RESULTS, Address, Device, Gpus, Only, Results, Seeds, Settings, SuiteName
from harness.errors import UsageError
from harness.pools.device_choice import DeviceChoice

app = typer.Typer()


@app.command(epilog="Example: oneclock run quick --only 'dpmpp*' --set n_images=500")
def run(
    suite: SuiteName,
    address: Address = None,
    results: Results = RESULTS,
    settings: Settings = None,
    only: Only = None,
    seeds: Seeds = None,
    gpus: Gpus = None,
    device: Device = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show errors only; tables are in the results folder.")] = False,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="One worker in this process, without Ray: for a laptop, a CI job.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--pdb", help="In this process too; what a method raises opens Python's debugger there.")
    ] = False,
) -> None:
    """Run what is missing of a suite, then rebuild its report.

    The report is the leaderboard, the plots and report.html.
    """
    from harness import api
    from harness.cli.debugger import open_debugger
    from harness.cli.next_steps import list_next_steps
    from harness.screen.ending import show_end, show_errors

    with open_debugger(debug):
        tables = api.run(
            suite,
            only=only,
            settings=settings,
            seeds=seeds,
            address=address,
            gpus=gpus,
            device=device,
            results=results,
            in_process=in_process or debug,
            raise_errors=debug,
            quiet=quiet,
        )

    if quiet:
        show_errors(tables)
    else:
        show_end(tables, list_next_steps(tables.folder.name, results, with_time=tables.measured > 0))
    if not tables.all_valid:
        raise typer.Exit(1)


@app.command("wrap", epilog="Example: oneclock wrap mine.py:my_sampler --network zoo:unet-8 --steps 5,10")
def wrap_sampler(
    sampler: Annotated[
        str, typer.Argument(help="FILE.py:NAME of your sampler(network, noise, steps) or pipeline(noise, steps).")
    ],
    network: Annotated[str | None, typer.Option(help="Of the zoo (`oneclock ls zoo`), zoo:unet-8 by default.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Of a pipeline that stands by itself, without DDIM.")] = None,
    steps: Annotated[str, typer.Option(help="Step counts with commas; the first is the clock's.")] = "10",
    schedule: Annotated[str, typer.Option(help="Schedule of the baseline, DDIM.")] = "edm",
    n_images: Annotated[int | None, typer.Option(min=1, help="By default those of the network's own limit.")] = None,
    address: Address = None,
    gpus: Gpus = None,
    device: Device = None,
    results: Results = RESULTS,
    settings: Settings = None,
    in_process: Annotated[bool, typer.Option("--in-process", help="One worker in this process, without Ray.")] = False,
) -> None:
    """Run your own sampler or pipeline next to DDIM, not ported.

    A sampler gets the counted network, this harness's noise and the number of steps, and returns final states. Noise
    has unit variance: begin at noise * network.sigma_max. A pipeline has its own network: it gets noise and steps,
    and returns images."""
    from harness.cli.wrap import wrap
    from harness.screen.ending import show_end

    # step counts
    counts = steps.split(",")
    if not all(one.strip().isdecimal() for one in counts):
        raise UsageError(f'--steps is "{steps}"; expected whole numbers with commas, such as 5,10')

    tables = wrap(
        sampler,
        network,
        [int(one) for one in counts],
        dataset=dataset,
        schedule=schedule,
        n_images=n_images,
        settings=settings or [],
        address=address,
        gpus=gpus,
        device=device,
        results=results,
        in_process=in_process,
        quiet=False,
    )

    show_end(tables)
    if not tables.all_valid:
        raise typer.Exit(1)


@app.command("plan", epilog="Example: oneclock plan cifar10 --set n_images=10000")
def list_plan(
    suite: SuiteName,
    address: Address = None,
    results: Results = RESULTS,
    settings: Settings = None,
    only: Only = None,
    seeds: Seeds = None,
    gpus: Gpus = None,
    device: Device = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time one evaluation of each network here, instead of a guess from FLOPs.")
    ] = False,
) -> None:
    """List what a run would do, and how long it takes. Runs nothing.

    Trials done and to do, the wall time with a range, and what is missing.
    """
    from harness.cli.plan_lines import plan_lines

    choice = DeviceChoice(gpus, device)
    for line in plan_lines(suite, settings, seeds, only, address, results, measure, choice):
        typer.echo(line)


@app.command("report", epilog="Example: oneclock report results/quick")
def rebuild_report(
    folder: Annotated[Path, typer.Argument(help="Results folder of one suite.")] = RESULTS / "quick",
) -> None:
    """Rebuild a report from its tables alone.

    Leaderboard, plots, HTML and LaTeX.
    """
    from harness import api

    for path in api.report(folder):
        typer.echo(path)
