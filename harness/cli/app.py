"""The verbs: one function each, without logic. Each shows an example with `--help`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import export, imports, stored, zoo
from harness.cli.new import verbs as new
from harness.errors import UsageError, did_you_mean
from harness.pools.device_choice import DeviceChoice

app = typer.Typer(
    name="oneclock",
    help="Measure methods that accelerate diffusion sampling under one clock.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(stored.app)
app.add_typer(new.app)
app.add_typer(export.app)
app.add_typer(imports.app)
app.add_typer(zoo.app)

SuiteName = Annotated[str, typer.Argument(help="A suite's name (see `oneclock ls suites`) or the path of a TOML file.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster, for example auto or head:6379; default RAY_ADDRESS, else here.")
]
Results = Annotated[Path, typer.Option(help="Folder that holds one folder per suite.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Change one entry of the suite: KEY=VALUE.")]
Only = Annotated[
    str | None,
    typer.Option(help="Only the trial of this printed name, or those whose name, part or network it matches."),
]
Seeds = Annotated[int | None, typer.Option(help="Use the first K disjoint seed sets.")]
Gpus = Annotated[
    int | None,
    typer.Option("--gpus", help="Take so many GPUs of the cluster or this machine; by default all of one class."),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", help='Take devices of one class, by words of its name: "H100"; each MIG slice is a class too.'
    ),
]
RESULTS = Path("results")


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


@app.command("score", epilog="Example: oneclock score ./samples --dataset cifar10 --extractor inception-v3-compat:FILE")
def score_own_images(
    images: Annotated[Path, typer.Argument(help="A folder of PNG, JPEG, WebP, BMP or TIFF files, or an npz (arr_0).")],
    dataset: Annotated[str, typer.Option(help="The data set that they are compared with: its name or card.")],
    extractor: Annotated[
        str | None,
        typer.Option(help="Feature network, or NAME:PATH with its weights; the shipped one that fits by default."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="File of statistics in place of the reference pictures; mu and sigma alone want --extractor."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Score images that any code made, as tables do.

    FID and KID with intervals, precision and recall, against a data set's reference split."""
    from harness.cli.score import describe_score, score_images, score_lines

    score = score_images(images, dataset, extractor, reference)
    for sentence in score.cautions():
        typer.echo(f"oneclock: note: {sentence}", err=True)
    lines = [json.dumps(describe_score(score), indent=2)] if as_json else score_lines(score)
    for line in lines:
        typer.echo(line)


@app.command("reproduce", epilog="Example: oneclock reproduce edm-cifar10")
def reproduce_one(
    claim: Annotated[str | None, typer.Argument(help="A claim, or the first words of several.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the published figures that are known.")] = False,
    results: Results = RESULTS,
    settings: Settings = None,
    ledger: Annotated[Path | None, typer.Option(help="A ledger of your own; the shipped one by default.")] = None,
    only_plan: Annotated[bool, typer.Option("--plan", help="Say what would be run and what is missing.")] = False,
    in_process: Annotated[bool, typer.Option("--in-process", help="One worker in this process, without Ray.")] = False,
) -> None:
    """Measure a published figure and compare.

    Prints paper, measured, interval and verdict: reproduced, not reproduced, or no verdict with the conditions that
    are not met. A method whose figure was reproduced wears that mark in all tables of the same results.
    """
    from harness.claims.reproduce import list_claims, reproduce_claims
    from harness.cli.listing import in_columns

    if claim is None and not listed:
        raise UsageError("no claim is named; expected one of `oneclock reproduce --list`")
    for line in (
        in_columns(list_claims(ledger))
        if claim is None or listed
        else reproduce_claims(claim, ledger, settings, results, in_process, only_plan)
    ):
        typer.echo(line)


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


Dashboard = Annotated[str, typer.Option(help="The cluster's dashboard, for example http://head:8265.")]


@app.command(epilog="Example: RAY_AUTH_MODE=token oneclock submit cifar10 --address http://head:8265")
def submit(
    suite: SuiteName,
    address: Dashboard = "",
    results: Results = RESULTS,
    settings: Settings = None,
    only: Only = None,
    seeds: Seeds = None,
    gpus: Gpus = None,
    device: Device = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where the job keeps tables, artifacts and checkpoints: s3://, gs://, abfs:// or a shared folder; "
            "a later job goes on from there."
        ),
    ] = None,
) -> None:
    """Run a suite as a Ray job and bring its results back.

    Follows the log of the job. Without --storage the rows come home through it.
    """
    from harness.cli.submit import submit_suite

    _check_dashboard_given(address, "submit")
    code = submit_suite(suite, address, results, settings or [], only, seeds, storage, DeviceChoice(gpus, device))
    if code:
        raise typer.Exit(code)


@app.command(epilog="Example: oneclock attach oneclock-0123456789abcdef --address http://head:8265")
def attach(
    job: Annotated[
        str | None, typer.Argument(help="The job's id; without one, those that are known are named.")
    ] = None,
    address: Dashboard = "",
    results: Results = RESULTS,
) -> None:
    """Follow a submitted job again and bring its results back.

    Also one that has ended, and from another machine.
    """
    from harness.cli.attach import attach_job

    _check_dashboard_given(address, "attach")
    code = attach_job(job, address, results)
    if code:
        raise typer.Exit(code)


def _check_dashboard_given(address: str, verb: str) -> None:
    if not address:
        raise UsageError(
            "no cluster is named; expected --address http://HOST:8265 "
            f"(in a clone also: make {verb} ADDRESS=http://HOST:8265)"
        )
